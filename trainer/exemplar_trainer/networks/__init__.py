"""Base networks: images in the range 0 to 255 in, L2-normalized embeddings out. One network a file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import keras

from exemplar_trainer.networks.backbone import BACKBONES, backbone_network
from exemplar_trainer.networks.residual import residual_network
from exemplar_trainer.networks.seed import seed_network

NETWORKS: dict[str, Callable[[tuple[int, int, int], int], keras.Model]] = {
    "residual": residual_network,
    "seed": seed_network,
    **{name: partial(backbone_network, name) for name in BACKBONES},
}

__all__ = ["BACKBONES", "NETWORKS"]
