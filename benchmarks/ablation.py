"""The worth of each choice of the default recipe: short runs that differ from it in one thing, side by side.

A choice that goes with the one that is changed (a loss's batch, an optimizer's rate) is changed with it. Each trains
on the same classes for the same number of steps and is measured on the same held-out groups. Short runs flatter what
learns fast and slight what keeps a long run from learning by heart; read differences, not levels. What was measured
before with as many steps, in the same precision, stays in the record, so that a few variants can be added to it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.results import read, record
from benchmarks.short_run import short_run
from exemplar_trainer.augmentation.geometry import Affine, Elastic
from exemplar_trainer.data.reading import read_data_set
from exemplar_trainer.data.split import split
from exemplar_trainer.evaluation.accuracy import Accuracy, measure
from exemplar_trainer.evaluation.episodes import Protocol, draw_episodes
from exemplar_trainer.recipes.recipe import Recipe
from exemplar_trainer.recipes.shipped import RECIPES
from exemplar_trainer.training.embed import embed

PROTOCOL = Protocol(20, 1, within_group=True)
DEFAULT = RECIPES["default"]
EPISODES = 1500


def _sized(side: int) -> dict[str, Any]:
    return {"preprocessing": replace(DEFAULT.preprocessing, width=side, height=side)}


VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "optimizer AdamW": {"optimizer": "adamw", "learning_rate": 2.5e-3},
    "the whole image instead of its framed ink": {
        "preprocessing": replace(DEFAULT.preprocessing, framing="whole", levels="kept")
    },
    "input of 48 pixels": _sized(48),
    "input of 36 pixels": _sized(36),
    "not whitened": {"whiten": False},
    "upright only": {"orientations": 1},
    "quarter turns, no mirror images": {"orientations": 4},
    "no classes of one group in a batch": {"group_share": 0.0},
    "all classes of a batch of one group": {"group_share": 1.0},
    "no affine augmentation": {"affine": Affine()},
    "no elastic augmentation": {"elastic": Elastic()},
    "48 classes of 4 images a batch": {"classes_per_batch": 48, "images_per_class": 4},
    "loss NCA": {"loss": "nca"},
    "loss SupCon, 48 x 4": {"loss": "supcon", "classes_per_batch": 48, "images_per_class": 4},
    "loss multi-similarity": {"loss": "multi-similarity"},
    "loss triplet": {"loss": "triplet"},
}


def main(
    data: Annotated[Path, typer.Argument(help="Folder or zip of images, as for training.")],
    steps: Annotated[int, typer.Option(min=10, help="Steps of each run.")] = 600,
    precision: Annotated[str, typer.Option(help="float32 or mixed_bfloat16.")] = "float32",
    only: Annotated[list[str] | None, typer.Option(help="Only variants with these words; repeat it.")] = None,
) -> None:
    """Train every variant and compare."""
    chosen = {name: each for name, each in VARIANTS.items() if not only or any(words in name for words in only)}
    if not chosen:
        raise typer.BadParameter(f"no variant is named so; there are {', '.join(VARIANTS)}")
    file = f"ablation_{steps}"
    before = read(file) or {}
    same = (before.get("steps"), before.get("precision")) == (steps, precision)
    rows, figures = [], before["variants"] if same else {}
    for name, changes in chosen.items():
        recipe = replace(DEFAULT, steps=steps, **{"precision": precision, **changes})
        held_out, training, seconds = _run(name, recipe, data)
        rows.append([name, _cell(held_out), _cell(training), f"{1000 * seconds:.0f}"])
        figures[name] = {
            "held_out": held_out.value,
            "half": (held_out.high - held_out.low) / 2,
            "training": training.value,
            "seconds_a_step": seconds,
        }
        title = f"{PROTOCOL.name}, {steps} steps, {precision}; {EPISODES} episodes, 95 % interval over episodes"
        columns = ["the default recipe, but", "held-out groups", "training groups", "ms a step"]
        # After each, so that what took an hour is not lost with what comes last.
        record(file, title, columns, rows, {"steps": steps, "precision": precision, "variants": figures})


def _run(name: str, recipe: Recipe, data: Path) -> tuple[Accuracy, Accuracy, float]:
    """Accuracy on held-out and on training classes, and the median time of a step."""
    parts = split(read_data_set(data, recipe.preprocessing))
    network, seconds = short_run(name, recipe, parts.training)
    held_out, training = (
        measure(embed(network, images.pixels), draw_episodes(images, PROTOCOL, EPISODES, seed=1))
        for images in (parts.held_out, parts.training)
    )
    return held_out, training, seconds


def _cell(accuracy: Accuracy) -> str:
    return f"{accuracy.value:.1%} ± {(accuracy.high - accuracy.low) / 2:.1%}"


if __name__ == "__main__":
    typer.run(main)
