"""A store that was cut off at any moment holds all that it acknowledged, and nothing that nobody gave it.

A process that changes a store is traced, write by write. Then its folder is put together as it was after each step (a
kill), and as a loss of power could have left it there; each time the store is opened and read whole.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from exemplar_server.errors import StartError
from exemplar_server.store import open_store
from tests.durability import disk, history
from tests.durability.scale import SCALE

SEED = 20
CHANGES = 60


@dataclass(frozen=True)
class Traced:
    """A process's steps, and what was there before it."""

    steps: list[disk.Step]
    before: dict[str, bytes | None]

    def moments(self, count: int, rng: random.Random) -> Iterator[tuple[int, disk.Disk]]:
        """Yield some moments, as the number of steps that were done by then, and the disk."""
        chosen = sorted(rng.sample(range(1, len(self.steps) + 1), min(count, len(self.steps))))
        now, done = disk.Disk(self.before), 0
        for moment in chosen:
            for step in self.steps[done:moment]:
                now.do(step)
            done = moment
            yield moment, now

    def told(self, moment: int) -> tuple[int, int]:
        """Return how many changes were acknowledged by then, and how many begun."""
        lines = [step.data for step in self.steps[:moment] if step.path == history.TOLD and step.what == "w"]
        return sum(line.startswith(b"done") for line in lines), sum(line.startswith(b"begin") for line in lines)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None or sys.platform != "linux":
        pytest.skip("tracing a process needs Linux and a C compiler")
    return disk.compiled(tmp_path_factory.mktemp("tracing"))


@pytest.fixture(scope="module")
def traced(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Traced:
    folder = tmp_path_factory.mktemp("traced") / "root"
    folder.mkdir()
    command = [sys.executable, "-m", "tests.durability.history", str(folder), str(CHANGES * min(SCALE, 5)), str(SEED)]
    return Traced(disk.run_traced(library, folder, command), {"": None})


EXPECTED = history.states(history.changes(CHANGES * min(SCALE, 5), SEED))


def check(folder: Path, files: dict[str, bytes | None], acknowledged: int, begun: int) -> None:
    """Open a store on files: it holds what was acknowledged, and perhaps what was begun."""
    disk.put(folder, files)
    store = open_store(f"sqlite:{folder / history.DATA}")
    try:
        assert history.content(store) in EXPECTED[acknowledged : begun + 1], (acknowledged, begun)
    finally:
        store.close()
        shutil.rmtree(folder)


def test_the_steps_are_those_of_the_process(traced: Traced, tmp_path: Path) -> None:
    whole = disk.Disk(traced.before)
    for step in traced.steps:
        whole.do(step)
    assert {step.what for step in traced.steps} >= set("cwtsd")
    check(tmp_path / "whole", whole.as_it_is(), len(EXPECTED) - 1, len(EXPECTED) - 1)


def test_a_kill_after_any_write_loses_nothing(traced: Traced, tmp_path: Path) -> None:
    moments = 0
    for moment, now in traced.moments(60 * SCALE, random.Random(1)):
        moments += 1
        check(tmp_path / str(moment), now.as_it_is(), *traced.told(moment))
    print(f"killed at {moments:,} moments: 0 lost")


def test_a_loss_of_power_at_any_moment_loses_nothing(traced: Traced, tmp_path: Path) -> None:
    rng, moments = random.Random(2), 0
    for moment, now in traced.moments(80 * SCALE, rng):
        moments += 1
        for number in range(2):
            check(tmp_path / f"{moment}-{number}", now.after_a_loss(rng), *traced.told(moment))
    print(f"without power {2 * moments:,} times: 0 lost")


def test_the_proof_notices_a_store_that_does_not_sync(traced: Traced, tmp_path: Path) -> None:
    """Take the syncs of the log away: then something that was acknowledged is lost, or the start refused."""
    lazy = Traced([s for s in traced.steps if s.what != "s" or not s.path.endswith(("-wal", ".db"))], traced.before)
    rng, lost = random.Random(3), 0
    for moment, now in lazy.moments(20, rng):
        try:
            check(tmp_path / str(moment), now.after_a_loss(rng), *lazy.told(moment))
        except (AssertionError, StartError):
            lost += 1
    assert lost


OPEN = "import sys; from exemplar_server.store import open_store; open_store('sqlite:' + sys.argv[1]).close()"


def test_a_store_that_was_being_brought_to_this_format_is_whole(library: Path, tmp_path: Path) -> None:
    root = tmp_path / "old"
    store = open_store(f"sqlite:{root / history.DATA}")
    for change in history.changes(20, SEED):
        history.make(store, change)
    store.close()
    with closing(sqlite3.connect(root / history.DATA / "exemplar.db")) as database:
        database.executescript(
            "DROP TABLE store; DROP TABLE changes; DROP INDEX classes_by_gallery; DROP INDEX requests_by_time;"
            "CREATE INDEX requests_by_time ON requests (time); PRAGMA user_version = 3; PRAGMA journal_mode = DELETE;"
        )
    (root / history.DATA / "exemplar.mark").unlink()
    before: dict[str, bytes | None] = {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in root.rglob("*")
    } | {"": None}
    steps = disk.run_traced(library, root, [sys.executable, "-c", OPEN, str(root / history.DATA)])
    migrated = Traced(steps, before)
    rng, moments = random.Random(4), 0
    for moment, now in migrated.moments(25 * SCALE, rng):
        moments += 1
        check(tmp_path / f"kill-{moment}", now.as_it_is(), 20, 20)
        check(tmp_path / f"loss-{moment}", now.after_a_loss(rng), 20, 20)
    print(f"killed and without power {2 * moments:,} times while it was brought to this format: 0 lost")
