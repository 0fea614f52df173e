"""Whether queries are another kind of picture than the exemplars, told by where both lie as a whole.

Photographs asked of a gallery of catalogue icons have something in common that no icon has, and to the network that
is a direction: all of them lie to one side of all classes. Each is then far from its own class, and UNKNOWN. Its
distance alone does not tell it from a stranger, which is far from all classes too: it takes the queries as a whole.
Strangers of the exemplars' own kind lie around the same middle as the classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from exemplar_encoder.arrays import Floats, Floats64

OTHER_KIND = 0.15
"""The shift from which on queries are said to be another kind of picture, see `shift`."""


@dataclass(frozen=True, slots=True)
class Cloud:
    """Some embeddings as a whole, by sums that more can be added to.

    Attributes:
        total: their sum, float64 `[dimension]`.
        squares: the sum of their squared lengths.
        count: how many they are.
    """

    total: Floats64
    squares: float
    count: int

    @classmethod
    def of(cls, embeddings: Floats) -> Cloud:
        """Sum up float32 `[n, dimension]`."""
        total: Floats64 = embeddings.sum(axis=0, dtype=np.float64)
        return cls(total, float(np.vdot(embeddings, embeddings)), len(embeddings))

    def __add__(self, other: Cloud) -> Cloud:
        """Return both together."""
        return Cloud(self.total + other.total, self.squares + other.squares, self.count + other.count)

    def spread(self) -> float:
        """Return the mean squared distance between two of them; of less than two, 0."""
        if self.count < 2:
            return 0.0
        around = self.squares - float(self.total @ self.total) / self.count
        return 2.0 * max(0.0, around) / (self.count - 1)


def shift(queries: Cloud, classes: Cloud) -> float:
    """Return how far queries lie from classes as a whole, as a share of how far each lies from each.

    It is the squared distance between the means of their distributions, without bias, divided by the mean squared
    distance between a query and a class.

    Returns:
        About 0 where both are drawn alike, and below 0 by chance; 1 where the queries are all one point and the
        classes another.
    """
    between = queries.squares / queries.count + classes.squares / classes.count
    between -= 2.0 * float(queries.total @ classes.total) / (queries.count * classes.count)
    if between <= 0:
        return 0.0
    return 1.0 - (queries.spread() + classes.spread()) / 2.0 / between
