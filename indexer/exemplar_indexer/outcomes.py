"""The ends of a job's items, in terms for the report: notes, outcomes and counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

from exemplar_indexer.items import Item, Problem

FROM_SOURCE = "SOURCE"
"""Stands where a note has the gRPC code of the server's refusal, when it was not the server that refused."""


@dataclass(frozen=True)
class Note:
    """An error or a warning for the report."""

    level: Literal["error", "warning"]
    class_id: str
    image: str
    place: str
    code: str
    reason: str
    message: str

    @classmethod
    def error(cls, problem: Problem, code: str = FROM_SOURCE) -> Self:
        """Note what is wrong with an entry of the source, by the job or by the server's code."""
        return cls("error", problem.class_id, problem.image, problem.place, code, problem.reason, problem.message)


@dataclass(frozen=True)
class Outcome:
    """The end of an item: done, or failed, with what is to be reported."""

    class_id: str
    done: bool
    notes: Sequence[Note] = ()

    @classmethod
    def failed(cls, item: Item, reason: str, message: str, code: str = FROM_SOURCE) -> Self:
        """Say why an item is not in."""
        return cls(item.class_id, False, [Note.error(item.problem(reason, message), code)])


@dataclass(frozen=True)
class Counts:
    """How a job stands: items by state, source entries that could not become items, and warnings."""

    done: int
    failed: int
    pending: int
    problems: int
    warnings: int

    @property
    def total(self) -> int:
        """Entries of the source, whatever became of them."""
        return self.done + self.failed + self.pending + self.problems
