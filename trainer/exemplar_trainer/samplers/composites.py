"""Classes made up on the spot: two symbols side by side, in a grid of combinations that share their parts.

A letter often differs from its neighbour by one part: a dot, a hook, a second bump. In a grid of first parts by
second parts, every class has rivals that share one of its parts, so that a network must look at all of them; and
there are as many classes as pairs. Each is drawn by several hands, like any other class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Place:
    """Where a part goes: its scale, and its centre's distance from the middle as shares of the side."""

    scale: float
    x: float
    y: float


@dataclass(frozen=True)
class Grid:
    """The composite classes of one batch: `[k]` first and second classes, their orientations, where parts go."""

    firsts: Ints
    seconds: Ints
    first_orientation: int
    second_orientation: int
    first_place: Place
    second_place: Place


def draw_grid(rng: np.random.Generator, groups: Sequence[Ints], rows: int, columns: int, orientations: int) -> Grid:
    """Draw `rows` first parts of one group and `columns` second parts of another (or the same).

    The larger part and the smaller lie on opposite sides of the middle, at any angle, close enough to touch at times.
    """
    first, second = (_some_of(rng, groups, count) for count in (rows, columns))
    angle = rng.uniform(0.0, 2 * np.pi)
    apart = rng.uniform(0.2, 0.4)
    large, small = rng.uniform(0.55, 0.9), rng.uniform(0.35, 0.7)
    x, y = apart * np.cos(angle), apart * np.sin(angle)
    share = small / (large + small)
    return Grid(
        firsts=np.repeat(first, len(second)),
        seconds=np.tile(second, len(first)),
        first_orientation=int(rng.integers(orientations)),
        second_orientation=int(rng.integers(orientations)),
        first_place=Place(large, -x * share, -y * share),
        second_place=Place(small, x * (1 - share), y * (1 - share)),
    )


def _some_of(rng: np.random.Generator, groups: Sequence[Ints], count: int) -> Ints:
    able = [group for group in groups if len(group) >= count]
    pool = able[rng.integers(len(able))] if able else np.concatenate(list(groups))
    chosen: Ints = rng.choice(pool, min(count, len(pool)), replace=False)
    return chosen
