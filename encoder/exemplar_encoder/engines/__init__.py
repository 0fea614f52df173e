"""Engines run the network: each takes whole batches of a compiled size and knows nothing of images.

`run_padded` cuts any number of inputs into such batches, so that nothing is compiled or traced after the start.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from exemplar_encoder.arrays import Floats, Pixels

BATCH_SIZES: tuple[int, ...] = (1, 8, 32)


class Engine(Protocol):
    """A network made ready for batches of its `batch_sizes`, ascending. One thread at a time may run it.

    `most_padding` is the share of a batch up to which padding is cheaper than running smaller batches: all of it
    where a batch takes hardly longer than one image, as on a GPU, and little where it takes as long as its images.
    """

    name: str
    batch_sizes: tuple[int, ...]
    most_padding: float

    def run(self, batch: Pixels) -> Floats:
        """Embed uint8 `[n, height, width, channels]`, n in `batch_sizes`, as float32 `[n, dimension]`."""
        ...


def run_padded(engine: Engine, images: Pixels, dimension: int) -> Floats:
    """Embed any number of images: in batches as large as they fill, or fill but for some padding with zeros.

    Args:
        engine: what runs the network.
        images: uint8 `[n, height, width, channels]`, n >= 0.
        dimension: length of an embedding.

    Returns:
        float32 `[n, dimension]`.
    """
    embeddings = np.empty((len(images), dimension), dtype=np.float32)
    start = 0
    while start < len(images):
        left = len(images) - start
        size = _size(engine, left)
        batch = images[start : start + size]
        filled = len(batch)
        if filled < size:
            padding = np.zeros((size - filled, *batch.shape[1:]), dtype=np.uint8)
            batch = np.concatenate([batch, padding])
        embeddings[start : start + filled] = engine.run(batch)[:filled]
        start += filled
    return embeddings


def _size(engine: Engine, left: int) -> int:
    """Return the size of the next batch: one that all fit in, if that is not mostly padding, else the largest."""
    fitting = next((size for size in engine.batch_sizes if size >= left), None)
    if fitting is not None and fitting - left <= engine.most_padding * fitting:
        return fitting
    return max((size for size in engine.batch_sizes if size <= left), default=engine.batch_sizes[0])
