"""Base networks: images in the range 0 to 255 in, L2-normalised embeddings out. One network a file."""

from __future__ import annotations

from collections.abc import Callable

import keras

from exemplar_trainer.networks.residual import residual_network
from exemplar_trainer.networks.seed import seed_network

NetworkBuilder = Callable[[tuple[int, int, int], int], keras.Model]

NETWORKS: dict[str, NetworkBuilder] = {"residual": residual_network, "seed": seed_network}

__all__ = ["NETWORKS", "NetworkBuilder", "residual_network", "seed_network"]
