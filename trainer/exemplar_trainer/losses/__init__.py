"""Metric-learning losses on a batch of embeddings. One loss a file.

Each is a Keras layer (some have weights of their own) called with embeddings float32 `[n, dimension]` of unit length
and integer labels `[n]`; it returns the mean loss, a scalar. Only `keras.ops` are used, so every loss runs on
any Keras backend. This list is read without Keras, which is loaded when a loss is made.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

    Make = Callable[[int, int], keras.layers.Layer]


def _in(module: str, name: str, of_labels: bool = False) -> Make:
    """Return what makes the loss of a module, where `of_labels` says so with the two numbers."""

    def make(labels: int, orientations: int) -> keras.layers.Layer:
        kind = getattr(import_module(f"{__name__}.{module}"), name)
        return kind(labels, orientations) if of_labels else kind()

    return make


# Each takes the number of labels that the sampler can draw, and how many in a row are one class's orientations.
LOSSES: dict[str, Make] = {
    "nca": _in("nca", "NCA"),
    "nca-cosface": _in("nca_cosface", "NCACosFace", of_labels=True),
    "supcon": _in("supcon", "SupervisedContrastive"),
    "multi-similarity": _in("multi_similarity", "MultiSimilarity"),
    "contrastive": _in("contrastive", "Contrastive"),
    "contrastive-head": _in("contrastive_head", "ContrastiveHead"),
    "triplet": _in("triplet", "BatchHardTriplet"),
    "lifted": _in("lifted", "LiftedStructured"),
}

# These read rows 2i and 2i + 1 of a batch as a pair, and so need the pair sampler.
PAIR_LOSSES = frozenset({"contrastive", "contrastive-head"})
