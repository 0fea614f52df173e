"""`exemplar store`: backup, restore, migrate and verify.

Exit codes: 0 all is well, 1 something is damaged, is refused or does not answer, 2 wrong usage. Tables go to stdout,
progress and errors to stderr.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from exemplar.commands.output import print_error, print_json, print_line, print_table
from exemplar_server.errors import NoStoreError, ServiceError, StartError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Back galleries up, restore them, move them to another database, and verify them.",
)

_NAMES = "sqlite:FOLDER, a folder by itself, or postgresql://USER@HOST/DATABASE"

Store = Annotated[
    str,
    typer.Option(
        "--store", envvar=["EXEMPLAR_STORE", "EXEMPLAR_DATA_DIR"], help=f"The store: {_NAMES}.", show_default=False
    ),
]
Galleries = Annotated[
    list[str] | None,
    typer.Option("--gallery", "-g", help="Only this gallery; may be given again.", show_default="all"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The archive to write; one of this name is replaced.")],
    store: Store,
    gallery: Galleries = None,
    json: AsJson = False,
) -> None:
    """Write galleries, with their images, into one file, from one state of the store; servers may go on."""
    from exemplar_server.store.opening import open_snapshot
    from exemplar_server.transfer.archive import write_archive
    from exemplar_server.transfer.source import TruthSource

    with _told(), open_snapshot(_name(store)) as snapshot, _Bar() as bar:
        source = TruthSource(snapshot, snapshot.name, gallery or ())
        bar.total = sum(each.class_count for each in source.galleries())
        carried, responses = write_archive(source, file, lambda count: bar.advance("writing classes", count))
    size = file.stat().st_size
    if json:
        print_json({"file": str(file), "bytes": size, "galleries": carried, "responses": responses})
        return
    _print_carried([(each, "") for each in carried])
    print_line(f"{file}: {size:,} bytes, {responses:,} kept responses")


@app.command()
def restore(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="An archive that `backup` wrote.", exists=True, dir_okay=False)
    ],
    store: Store,
    gallery: Galleries = None,
    json: AsJson = False,
) -> None:
    """Load an archive into a store, which has no galleries of these names, and compare every row.

    Run again, it completes what was interrupted.
    """
    from exemplar_server.store.opening import open_truth
    from exemplar_server.transfer.archive import Archive

    with _told(), _Bar() as bar:
        bar.total = file.stat().st_size
        with closing(Archive(file, gallery or (), lambda count: bar.advance("checking bytes", count))) as archive:
            target = _name(store)
            with closing(open_truth(target)) as truth:
                _copy(archive, truth, _shown(target), bar, json)


@app.command()
def migrate(
    from_: Annotated[str, typer.Argument(metavar="FROM", help=f"The store to copy from: {_NAMES}.")],
    to: Annotated[str, typer.Argument(metavar="TO", help="The store to copy to, likewise.")],
    gallery: Galleries = None,
    json: AsJson = False,
) -> None:
    """Copy galleries to another store, and compare every row; no server may be on FROM meanwhile.

    Run again, it completes what was interrupted. Nothing is deleted from FROM.
    """
    from exemplar_server.store.opening import open_still, open_truth
    from exemplar_server.transfer.source import TruthSource

    source_name, target_name = _name(from_), _name(to)
    if source_name == target_name:
        raise typer.BadParameter("FROM and TO are the same store")
    with _told(), open_still(source_name) as snapshot, _Bar() as bar:
        source = TruthSource(snapshot, _shown(source_name), gallery or ())
        with closing(open_truth(target_name)) as truth:
            _copy(source, truth, _shown(target_name), bar, json)


@app.command()
def verify(store: Store, gallery: Galleries = None, json: AsJson = False) -> None:
    """Read every class, exemplar, image and kept response of a store, and name what is damaged; servers may go on."""
    from exemplar_server.store.opening import open_snapshot
    from exemplar_server.transfer.verifying import verify as check

    with _told(), open_snapshot(_name(store)) as snapshot, _Bar() as bar:
        verified = check(snapshot, gallery or (), lambda count: bar.advance("reading classes", count))
    if json:
        named = [{"gallery": name, "classes": count} for name, count in verified.galleries]
        print_json({"galleries": named, "damage": verified.damage})
    else:
        wrong = {name: sum(each.gallery == name for each in verified.damage) for name, _ in verified.galleries}
        rows = [(name, f"{count:,}", f"{wrong[name]:,}") for name, count in verified.galleries]
        print_table(["gallery", "classes", "damage"], rows, right=["classes", "damage"])
    for each in verified.damage:
        place = f"gallery {each.gallery!r}: " if each.gallery else ""
        place += f"class {each.class_id!r}: " if each.class_id else ""
        print_error(place + each.problem)
    if verified.damage:
        raise typer.Exit(1)


def _copy(source: Any, truth: Any, target: str, bar: _Bar, json: bool) -> None:
    from exemplar_server.transfer.copying import copy_galleries

    bar.total = sum(each.class_count for each in source.galleries())
    copied, responses = copy_galleries(
        source, truth, target, lambda step, count: bar.advance(f"classes {step}", count)
    )
    bar.stop()
    if json:
        galleries = [{**dataclasses.asdict(carried), "outcome": outcome} for carried, outcome in copied]
        print_json({"store": target, "galleries": galleries, "responses": responses})
        return
    _print_carried(copied)
    print_line(f"{target}: every row compared, {responses:,} kept responses")


def _print_carried(galleries: Sequence[tuple[Any, str]]) -> None:
    rows = [
        (each.gallery, f"{each.classes:,}", f"{each.exemplars:,}", f"{each.image_bytes:,}", outcome)
        for each, outcome in galleries
    ]
    columns = ["gallery", "classes", "exemplars", "image bytes", "outcome"]
    if not any(outcome for *_, outcome in rows):
        columns, rows = columns[:4], [row[:4] for row in rows]  # type: ignore[misc]
    print_table(columns, rows, right=columns[1:4])


def _name(text: str) -> str:
    """Return a store's name; a folder may be given by itself."""
    kinds = ("sqlite:", "postgresql:", "postgres:")
    name = text if text.startswith(kinds) or "://" in text else f"sqlite:{text}"
    return f"sqlite:{Path(folder)}" if (folder := name.removeprefix("sqlite:")) not in ("", name) else name


def _shown(store: str) -> str:
    from exemplar_server.passwords import without_password

    return without_password(store)


@contextmanager
def _told() -> Iterator[None]:
    """Tell what is expected to go wrong as one line."""
    from exemplar_server.transfer.members import ArchiveError

    try:
        yield
    except (ServiceError, StartError, ArchiveError) as error:
        print_error(str(error))
        raise typer.Exit(2 if isinstance(error, NoStoreError) else 1) from error


class _Bar:
    """How far the work is, on stderr and for a terminal only; a context manager."""

    def __init__(self) -> None:
        self.total = 0
        self._tasks: dict[str, Any] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=(to := Console(stderr=True)),
            disable=not to.is_terminal,
        )
        self.stop: Callable[[], None] = self._progress.stop

    def advance(self, step: str, count: int) -> None:
        """Show that a step is further by `count` of the total."""
        if step not in self._tasks:
            self._tasks[step] = self._progress.add_task(step, total=self.total)
        self._progress.advance(self._tasks[step], count)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
