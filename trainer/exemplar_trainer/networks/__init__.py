"""Base networks: images in the range 0 to 255 in, L2-normalized embeddings out. One network a file.

This list is read without Keras, which is loaded when a network is built.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from exemplar_trainer.networks.pretrained import BACKBONES, is_file

if TYPE_CHECKING:
    import keras

    Build = Callable[[tuple[int, int, int], int], keras.Model]


def _residual(input_shape: tuple[int, int, int], dimension: int) -> keras.Model:
    from exemplar_trainer.networks.residual import residual_network

    return residual_network(input_shape, dimension)


def _seed(input_shape: tuple[int, int, int], dimension: int) -> keras.Model:
    from exemplar_trainer.networks.seed import seed_network

    return seed_network(input_shape, dimension)


def _backbone(name: str, input_shape: tuple[int, int, int], dimension: int) -> keras.Model:
    from exemplar_trainer.networks.backbone import backbone_network

    return backbone_network(name, input_shape, dimension)


NETWORKS: dict[str, Build] = {
    "residual": _residual,
    "seed": _seed,
    **{name: partial(_backbone, name) for name in BACKBONES},
}


def builder(network: str) -> Build:
    """Return what builds a network with freshly drawn weights: one of `NETWORKS`, or a `.keras` file's."""
    return partial(_backbone, network) if is_file(network) else NETWORKS[network]


__all__ = ["BACKBONES", "NETWORKS", "builder"]
