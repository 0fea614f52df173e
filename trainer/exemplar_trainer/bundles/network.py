"""A base network as a bundle is made of it, whatever library it was made with.

What measures, calibrates and assembles a bundle knows no more of a network than this.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from exemplar_encoder.arrays import Floats, Floats64, Pixels


class ModelError(Exception):
    """A model from elsewhere that cannot be served; the message says what it needs."""


class Network(Protocol):
    """From images, uint8 `[n, height, width, channels]`, to embeddings."""

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        ...

    def embed(self, pixels: Pixels) -> Floats:
        """Return embeddings of unit length, float32 `[n, dimension]`, by the weights that a bundle holds."""
        ...

    def features(self, pixels: Pixels) -> Floats:
        """Return what is brought to unit length to become an embedding, float32 `[n, dimension]`."""
        ...

    def adapted(self, matrix: Floats64, offset: Floats64) -> Network:
        """Return a network whose embeddings are `features @ matrix + offset`, brought to unit length.

        Args:
            matrix: float64 `[dimension, dimension]`.
            offset: float64 `[dimension]`.
        """
        ...

    def write(self, folder: Path, pixels: Pixels) -> Floats:
        """Write the files of each engine that can run the network to a bundle's folder.

        Returns:
            What the network as it was written makes of `pixels`, float32 `[n, dimension]`.
        """
        ...
