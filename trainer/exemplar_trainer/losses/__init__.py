"""Metric-learning losses on a batch of embeddings. One loss a file.

Each is a Keras layer (some have weights of their own) called with embeddings float32 `[n, dimension]` of unit length
and integer labels `[n]`; it returns the mean loss, a scalar. Only `keras.ops` are used, so every loss runs on
any Keras backend.
"""

from __future__ import annotations

from collections.abc import Callable

import keras

from exemplar_trainer.losses.contrastive import Contrastive
from exemplar_trainer.losses.contrastive_head import ContrastiveHead
from exemplar_trainer.losses.lifted import LiftedStructured
from exemplar_trainer.losses.multi_similarity import MultiSimilarity
from exemplar_trainer.losses.nca import NCA
from exemplar_trainer.losses.nca_cosface import NCACosFace
from exemplar_trainer.losses.supcon import SupervisedContrastive
from exemplar_trainer.losses.triplet import BatchHardTriplet

# Each takes the number of labels that the sampler can draw, and how many in a row are one class's orientations.
LOSSES: dict[str, Callable[[int, int], keras.layers.Layer]] = {
    "nca": lambda labels, orientations: NCA(),
    "nca-cosface": NCACosFace,
    "supcon": lambda labels, orientations: SupervisedContrastive(),
    "multi-similarity": lambda labels, orientations: MultiSimilarity(),
    "contrastive": lambda labels, orientations: Contrastive(),
    "contrastive-head": lambda labels, orientations: ContrastiveHead(),
    "triplet": lambda labels, orientations: BatchHardTriplet(),
    "lifted": lambda labels, orientations: LiftedStructured(),
}

# These read rows 2i and 2i + 1 of a batch as a pair, and so need the pair sampler.
PAIR_LOSSES = frozenset({"contrastive", "contrastive-head"})
