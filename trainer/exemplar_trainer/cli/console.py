"""How the trainer's commands speak: notes and progress on standard error, and every failure as one sentence there.

Standard output stays free for figures and `--json`. Paths and names are printed as they are, whatever brackets or
colons they hold, and lines are not broken where a terminal ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from exemplar.commands.output import print_error

if TYPE_CHECKING:
    from exemplar_trainer.calibration.labeled_images import OnActivity
    from exemplar_trainer.data.reading import OnCount


def notes(quiet: bool = False) -> Console:
    """Return where a command says how it gets on; `quiet` says nothing."""
    return Console(stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True, quiet=quiet)


def fail(problem: Exception | str) -> NoReturn:
    """Print `exemplar: ` and a sentence that says what went wrong, and end the command with exit code 1."""
    print_error(str(problem))
    raise typer.Exit(1)


@contextmanager
def failures(*kinds: type[Exception]) -> Iterator[None]:
    """End the command with one sentence where the block raises an error of these kinds; see `fail`."""
    try:
        yield
    except kinds as error:
        fail(error)


@contextmanager
def activities(console: Console, first: str) -> Iterator[OnActivity]:
    """Show one progress bar for several activities, one after the other, and clear it at the end.

    Args:
        console: see `notes`.
        first: the activity to show until one is told of.
    """
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=console.quiet,
    ) as progress:
        task = progress.add_task(first, total=None)
        yield lambda activity, done, total: progress.update(task, description=activity, completed=done, total=total)


@contextmanager
def counting(console: Console, activity: str) -> Iterator[OnCount]:
    """Show the progress bar of one activity, and clear it at the end."""
    with activities(console, activity) as on_activity:
        yield lambda done, total: on_activity(activity, done, total)
