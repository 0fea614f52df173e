"""How much do the figures owe to which groups are held out? Every group is held out once, and measured by itself.

The groups are dealt into folds: the first fold is the one that training holds out by itself, the second begins with
the second name, and so on. One network is trained for each fold, on the groups of all others. An interval over
episodes says how well those groups were measured; the one over groups, given here, says how far the figure may be off
for an alphabet that nobody has seen yet.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.results import record
from benchmarks.short_run import short_run
from exemplar_trainer.data.reading import read_data_set
from exemplar_trainer.data.split import EVERY, split
from exemplar_trainer.evaluation.accuracy import measure
from exemplar_trainer.evaluation.episodes import Protocol, draw_episodes
from exemplar_trainer.evaluation.intervals import half_interval
from exemplar_trainer.recipes.options import TrainOptions, recipe_from
from exemplar_trainer.training.embed import embed

PROTOCOLS = (Protocol(20, 1, within_group=True), Protocol(20, 5, within_group=True))
EPISODES = 400


def main(
    data: Annotated[Path, typer.Argument(help="Folder or zip of images, in groups.")],
    steps: Annotated[int, typer.Option(min=10, help="Steps of each run.")] = 2500,
    precision: Annotated[str, typer.Option(help="float32 or mixed_bfloat16.")] = "float32",
    folds: Annotated[int, typer.Option(min=2, help="Networks to train.")] = EVERY,
) -> None:
    """Train one network for each fold and measure every group of `PROTOCOLS`' way or more."""
    recipe = recipe_from(TrainOptions(steps=steps, precision=precision))
    images = read_data_set(data, recipe.preprocessing)
    names = sorted(images.classes_by_group)
    found: dict[str, list[float]] = {}
    for fold in range(folds):
        parts = split(images, names[fold::folds])
        network, _ = short_run(f"fold {fold + 1} of {folds}", recipe, parts.training)
        embeddings = embed(network, parts.held_out.pixels)
        for name, classes in parts.held_out.classes_by_group.items():
            if len(classes) >= max(protocol.way for protocol in PROTOCOLS):
                only = parts.held_out.only(classes.tolist())
                own = embeddings[np.isin(parts.held_out.labels, classes)]
                found[name] = [
                    measure(own, draw_episodes(only, protocol, EPISODES, seed=0)).value for protocol in PROTOCOLS
                ]
    values = np.array(list(found.values()))
    hardest_first = sorted(found.items(), key=lambda item: item[1])
    rows = [[name, *(f"{value:.1%}" for value in row)] for name, row in hardest_first]
    over = [(column.mean(), half_interval(column)) for column in values.T]
    rows.append([f"mean of {len(found)} groups", *(f"{mean:.1%} ± {half:.1%}" for mean, half in over)])
    title = f"Each group by a network that never saw it: {steps} steps, {precision}; 95 % interval over groups"
    columns = ["group", *(f"{protocol.way}-way {protocol.shot}-shot" for protocol in PROTOCOLS)]
    figures = {"steps": steps, "precision": precision, "columns": columns[1:], "groups": found, "over_groups": over}
    record("folds", title, columns, rows, figures)


if __name__ == "__main__":
    typer.run(main)
