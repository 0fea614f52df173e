"""The progress bar of the commands that go through many items."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

from exemplar_indexer.outcomes import Counts, Outcome


class JobBar:
    """The progress bar on stderr: how many of how many, the rate, the time left, and failures."""

    def __init__(self, doing: str) -> None:
        """Prepare; `doing` says what is done to the items."""
        self._doing = doing
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("[red]{task.fields[failures]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self.progress.add_task("Reading the source", total=None, rate="", failures="")
        self._failed = 0

    def start(self, counts: Counts) -> None:
        """Show what an earlier run did."""
        self._failed = counts.failed + counts.problems
        self.progress.update(
            self._task, description=self._doing, total=counts.total, completed=counts.total - counts.pending
        )
        self._show_failures()

    def advance(self, outcomes: Sequence[Outcome]) -> None:
        """Add a batch."""
        self.add(len(outcomes), sum(not outcome.done for outcome in outcomes))

    def add(self, count: int, failed: int) -> None:
        """Add items that have had their turn, and how many of them failed."""
        self._failed += failed
        self.progress.advance(self._task, count)
        speed = self.progress.tasks[0].speed
        self.progress.update(self._task, rate=f"{speed:,.0f} images/s" if speed else "")
        self._show_failures()

    def _show_failures(self) -> None:
        if self._failed:
            self.progress.update(self._task, failures=f"{self._failed:,} failed")
