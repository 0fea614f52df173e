"""The work that every peer does: bytes of a picture to the id of the nearest of a hundred classes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from benchmarks.drawn import picture
from benchmarks.limits import CLASSES, CONSIDERED
from exemplar_encoder import EncodedImage, load_encoder
from exemplar_server.store.index.flat import FlatIndex

BUNDLE = "PEERS_BUNDLE"


class Work:
    """An encoder on one thread and an index of pictures, for one process: as many such processes as cores."""

    def __init__(self) -> None:
        self._encoder = load_encoder(Path(os.environ[BUNDLE]), threads=1)
        self._index = FlatIndex(self._encoder.dimension)
        pixels = [self._encoder.prepare(EncodedImage(picture(n).content)).pixels for n in range(CLASSES)]
        self._index.put(np.arange(1, CLASSES + 1, dtype=np.int64), self._encoder.embed(np.stack(pixels)))

    def name(self, images: list[bytes]) -> list[str]:
        """Return the id of the nearest class of each picture."""
        pixels = np.stack([self._encoder.prepare(EncodedImage(image)).pixels for image in images])
        rows, _ = self._index.nearest(self._encoder.embed(pixels), CONSIDERED)
        return [f"c{row - 1}" for row in rows[:, 0]]
