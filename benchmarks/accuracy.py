"""How often is one example enough? Several bundles, and the pixels themselves, on the same episodes.

The episodes are drawn from the groups that the first bundle's training held out, by seed, so every row answers the
very same questions; a bundle that saw any of those groups in training is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.results import record
from exemplar_encoder import Preprocessing, load_encoder
from exemplar_encoder.arrays import Floats
from exemplar_trainer.bundles.build import EPISODES, PROTOCOLS
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.evaluation.accuracy import Accuracy, measure
from exemplar_trainer.evaluation.episodes import draw_episodes
from exemplar_trainer.evaluation.tree import read_tree


def main(
    data: Annotated[Path, typer.Argument(help="Folder or zip of images, as for training.")],
    bundle: Annotated[list[Path], typer.Option(help="A bundle; repeat it to compare several.")],
) -> None:
    """Measure and compare."""
    encoders = [load_encoder(path) for path in bundle]
    held_out = encoders[0].bundle.manifest.training["held_out"]
    for encoder in encoders:
        unseen = set(encoder.bundle.manifest.training["held_out"])
        if not unseen:
            raise typer.BadParameter(f"the training of {encoder.bundle.path} held out nothing")
        if not unseen >= set(held_out):
            raise typer.BadParameter(f"{encoder.bundle.path} was trained on {', '.join(set(held_out) - unseen)}")
    found: dict[str, list[Accuracy]] = {}
    for encoder in encoders:
        images = read_tree(data, encoder.bundle.manifest.preprocessing, held_out)
        name = f"{encoder.bundle.path} (recipe {encoder.bundle.manifest.recipe})"
        found[name] = _accuracies(encoder.embed(images.pixels), images)
    images = read_tree(data, Preprocessing(28, 28, 1), held_out)
    found["pixels, nearest neighbor"] = _accuracies(_pixels(images), images)
    rows = [
        [protocol.name, *(f"{rows[index].value:.1%} ± {_half(rows[index]):.1%}" for rows in found.values())]
        for index, protocol in enumerate(PROTOCOLS)
    ]
    figures = {
        name: {
            protocol.name: {"accuracy": a.value, "low": a.low, "high": a.high}
            for protocol, a in zip(PROTOCOLS, accuracies, strict=True)
        }
        for name, accuracies in found.items()
    }
    title = f"Accuracy on held-out {', '.join(held_out)}; {EPISODES} episodes, 95 % interval"
    record("accuracy", title, ["episodes", *found], rows, {"held_out": held_out, "accuracy": figures})


def _accuracies(embeddings: Floats, images: ImageSet) -> list[Accuracy]:
    return [measure(embeddings, draw_episodes(images, protocol, EPISODES, seed=0)) for protocol in PROTOCOLS]


def _pixels(images: ImageSet) -> Floats:
    flat = 1.0 - images.pixels.reshape(len(images.pixels), -1).astype(np.float32) / 255
    unit: Floats = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    return unit


def _half(accuracy: Accuracy) -> float:
    return (accuracy.high - accuracy.low) / 2


if __name__ == "__main__":
    typer.run(main)
