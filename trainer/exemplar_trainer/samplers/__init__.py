"""Samplers draw the next training batch. Each sampler is a pure function of its seed and the step.

So a resumed run continues with the very batch that it would have drawn, and no state has to be kept.
"""

from __future__ import annotations

from typing import Protocol

from exemplar_trainer.samplers.batch import Batch
from exemplar_trainer.samplers.classes import ClassSampler
from exemplar_trainer.samplers.pairs import PairSampler


class Sampler(Protocol):
    """Draws batches; `class_count` is how many labels it can give."""

    class_count: int

    def batch(self, step: int) -> Batch:
        """Draw the batch of a step, from 0."""
        ...


__all__ = ["Batch", "ClassSampler", "PairSampler", "Sampler"]
