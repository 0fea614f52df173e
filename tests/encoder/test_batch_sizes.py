"""Any number of images is embedded in batches of the sizes that an engine has, each image once."""

from __future__ import annotations

import numpy as np
import pytest

from exemplar_encoder.arrays import Floats, Pixels
from exemplar_encoder.engines import run_padded


class Doubling:
    """An engine that doubles each image's one pixel."""

    name = "doubling"

    def __init__(self, batch_sizes: tuple[int, ...], most_padding: float) -> None:
        self.batch_sizes = batch_sizes
        self.most_padding = most_padding
        self.ran: list[int] = []

    def run(self, batch: Pixels) -> Floats:
        self.ran.append(len(batch))
        return batch.reshape(-1, 1).astype(np.float32) * 2


@pytest.mark.parametrize(
    ("sizes", "most_padding", "count", "ran"),
    [
        ((1, 2, 8, 32), 1 / 8, 1, [1]),
        ((1, 2, 8, 32), 1 / 8, 7, [8]),
        ((1, 2, 8, 32), 1 / 8, 13, [8, 2, 2, 1]),
        ((1, 2, 8, 32), 1 / 8, 31, [32]),
        ((1, 2, 8, 32), 1 / 8, 70, [32, 32, 2, 2, 2]),
        ((1, 8, 32), 1.0, 2, [8]),
        ((1, 8, 32), 1.0, 40, [32, 8]),
        ((4,), 1.0, 2, [4]),
    ],
)
def test_a_batch_is_padded_only_where_that_is_cheaper(
    sizes: tuple[int, ...], most_padding: float, count: int, ran: list[int]
) -> None:
    engine = Doubling(sizes, most_padding)
    images = np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1)
    assert run_padded(engine, images, 1)[:, 0].tolist() == [2.0 * number for number in range(count)]
    assert engine.ran == ran
