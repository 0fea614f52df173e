"""What a person sees while a run goes on: progress bars with loss, rate and time left, then a table of figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from exemplar_encoder import Bundle
from exemplar_encoder.bundle import REPORT
from exemplar_trainer.data.image_set import ImageSet, some
from exemplar_trainer.data.split import Split
from exemplar_trainer.training.run import Watcher
from exemplar_trainer.training.run_folder import Run


class Screen:
    """Speaks on standard error, so that standard output stays free for `--json`."""

    def __init__(self, quiet: bool = False) -> None:
        """`quiet` leaves out all but errors and the message of a stopped run."""
        self._quiet = quiet
        # Paths and names are printed as they are, whatever brackets or colons they hold.
        self._console = Console(stderr=True, markup=False, emoji=False, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description:<9}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=quiet,
        )

    def __enter__(self) -> Self:
        """Start drawing."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""
        self._progress.stop()

    def begin(self, run: Run, folder: Path) -> None:
        """Say what is about to happen."""
        self._say(f"Training {run.name} with recipe {run.recipe.name} in {folder}")

    def watcher(self, run: Run) -> Watcher:
        """What `execute` tells this screen."""
        tasks: dict[str, TaskID] = {}

        def loaded(training: ImageSet, parts: Split) -> None:
            count = len(training.class_names)
            if run.final_of:
                self._say(f"All {count:,} classes to train on; figures and calibration are those of {run.final_of}")
            else:
                held_out = len(parts.held_out.class_names)
                self._say(f"{count:,} classes to train on, {held_out:,} held out ({some(parts.held_out_names)})")
            tasks["training"] = self._progress.add_task("training", total=run.recipe.steps, detail="")

        def stepped(done: int, loss: float, rate: float) -> None:
            detail = f"loss {loss:6.3f}  {rate:5.0f} images/s"
            self._progress.update(tasks["training"], completed=done, detail=detail)

        def measuring() -> None:
            if "training" in tasks:
                self._progress.update(tasks["training"], completed=run.recipe.steps)
            self._say("Measuring and calibrating on the held-out classes, then exporting")

        return Watcher(self.loading(), loaded, stepped, measuring)

    def loading(self) -> Callable[[int, int], None]:
        """Shows a bar of images read, told how many are and how many there will be."""
        tasks: list[TaskID] = []

        def loading(done: int, total: int) -> None:
            if not tasks:
                tasks.append(self._progress.add_task("images", total=total, detail=""))
            self._progress.update(tasks[0], completed=done)

        return loading

    def finish(self, bundle: Bundle) -> None:
        """Show the figures and where things are."""
        table = Table("episodes", "accuracy", "95 % interval", box=None, pad_edge=False)
        for column in table.columns[1:]:
            column.justify = "right"
        for figure in bundle.figures:
            if figure.low is not None and figure.high is not None:
                name = figure.name.removesuffix(" accuracy")
                table.add_row(name, f"{figure.value:.1%}", f"{figure.low:.1%} to {figure.high:.1%}")
        if not self._quiet:
            self._console.print(table)
        self._say(f"Bundle  {bundle.path}  ({bundle.id[:12]})")
        self._say(f"Report  {bundle.path / REPORT}")

    def message(self, text: str) -> None:
        """Say something even when quiet."""
        self._console.print(text, soft_wrap=True)

    def error(self, text: str) -> None:
        """Say what went wrong."""
        self._console.print(Text.assemble(("Error: ", "bold red"), text), soft_wrap=True)

    def _say(self, text: str) -> None:
        if not self._quiet:
            self._console.print(text, soft_wrap=True)


def outcome(bundle: Bundle) -> dict[str, Any]:
    """What `--json` prints of a finished bundle."""
    return {
        "bundle": str(bundle.path),
        "id": bundle.id,
        "figures": [asdict(figure) for figure in bundle.figures],
    }
