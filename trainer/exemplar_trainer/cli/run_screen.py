"""The screen while a bundle is made: progress bars with loss, rate and time left, then a table of figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

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

from exemplar_encoder import Bundle
from exemplar_encoder.bundle import REPORT
from exemplar_trainer.cli.console import notes
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.data.reading import OnCount
from exemplar_trainer.data.split import Split
from exemplar_trainer.data.wording import abridged, plural

if TYPE_CHECKING:  # training needs Keras, and not every bundle that is made does
    from exemplar_trainer.training.run import Watcher
    from exemplar_trainer.training.run_folder import Run


_SHOWN = 5


class RunScreen:
    """Draws on standard error while it is entered; see `console`."""

    def __init__(self, quiet: bool = False) -> None:
        """`quiet` shows nothing."""
        self._notes = notes(quiet)
        self._progress = Progress(
            TextColumn("{task.description:<9}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._notes,
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
        self._notes.print(f"Training {run.name} with recipe {run.recipe.name} in {folder}")

    def watcher(self, run: Run) -> Watcher:
        """Return what `finish_run` tells this screen."""
        from exemplar_trainer.training.run import Watcher

        tasks: dict[str, TaskID] = {}

        def on_split(training: ImageSet, parts: Split) -> None:
            classes = plural(len(training.class_names), "class", "classes")
            if run.final_of:
                self._notes.print(f"All {classes} to train on; figures and calibration are those of {run.final_of}")
            else:
                held_out = f"{len(parts.held_out.class_names):,} held out ({abridged(parts.held_out_names)})"
                self._notes.print(f"{classes} to train on, {held_out}")
            tasks["training"] = self._progress.add_task("training", total=run.recipe.steps, detail="")

        def on_step(done: int, loss: float, rate: float) -> None:
            detail = f"loss {loss:6.3f}  {rate:5.0f} images/s"
            self._progress.update(tasks["training"], completed=done, detail=detail)

        def on_trained() -> None:
            self._progress.update(tasks["training"], completed=run.recipe.steps)
            measured = "" if run.final_of else "Measuring and calibrating on the held-out classes, then exporting"
            self._notes.print(measured or "Exporting")

        return Watcher(self.reading(), self.left_out, on_split, on_step, on_trained)

    def left_out(self, reasons: Sequence[str], path: Path) -> None:
        """Say how many images were left out, which the first are and why, and where all are listed."""
        count = plural(len(reasons), "image")
        self._notes.print(f"{count} left out, for want of being readable; all are listed in {path}:")
        for reason in reasons[:_SHOWN]:
            self._notes.print(f"  {reason}")

    def reading(self, then: str = "") -> OnCount:
        """Return what shows a bar of images read, and a sentence when all are."""
        tasks: list[TaskID] = []

        def on_count(done: int, total: int) -> None:
            if not tasks:
                tasks.append(self._progress.add_task("images", total=total, detail=""))
            self._progress.update(tasks[0], completed=done)
            if then and done == total:
                self._notes.print(then)

        return on_count

    def finish(self, bundle: Bundle) -> None:
        """Show the figures and where things are, below the bars."""
        table = Table("episodes", "accuracy", "95 % interval", box=None, pad_edge=False)
        for column in table.columns[1:]:
            column.justify = "right"
        for figure in bundle.figures:
            if figure.low is not None and figure.high is not None:
                name = figure.name.removesuffix(" accuracy")
                table.add_row(name, f"{figure.value:.1%}", f"{figure.low:.1%} to {figure.high:.1%}")
        self._notes.print(table)
        self._notes.print(f"Measured on {bundle.calibration.fitted_on}.")
        if adaptation := bundle.manifest.training.get("adaptation"):
            self._notes.print(adaptation["sentence"])
        self._notes.print(f"Bundle  {bundle.path}  ({bundle.id[:12]})")
        self._notes.print(f"Report  {bundle.path / REPORT}")


def outcome(bundle: Bundle) -> dict[str, Any]:
    """Return what `--json` prints of a finished bundle."""
    return {
        "bundle": str(bundle.path),
        "id": bundle.id,
        "measured_on": bundle.calibration.fitted_on,
        "adaptation": bundle.manifest.training.get("adaptation"),
        "figures": [asdict(figure) for figure in bundle.figures],
    }
