"""A store that has lost something of what it acknowledged is refused with a sentence, never served as if whole.

What a killed server leaves behind is made by one: a process that stores classes and kills itself.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from exemplar_server.errors import StartError, UnavailableError
from exemplar_server.store import open_store
from exemplar_server.store.opening import open_snapshot
from exemplar_server.store.truth.high_water_mark import MARK, HighWaterMark, Mark
from tests.contract.stores import embedded
from tests.server.store.truth.test_sqlite import new_class

pytestmark = pytest.mark.process

CLASSES = 40
STORE_AND_DIE = f"""
import os, signal, sys
from pathlib import Path
from tests.contract.stores import embedded
from tests.server.store.truth.test_sqlite import new_class
store = embedded(Path(sys.argv[1]))
store.create_gallery("g", "m", 4)
for number in range({CLASSES}):
    store.put_classes("g", [new_class(f"c{{number}}", number)])
os.kill(os.getpid(), signal.SIGKILL)
"""
OPEN = """
import sys
from pathlib import Path
from tests.contract.stores import embedded
try: embedded(Path(sys.argv[1]))
except Exception as error: print(error)
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what a process left that was killed after it had acknowledged all classes."""
    directory = tmp_path_factory.mktemp("killed")
    ended = subprocess.run([sys.executable, "-c", STORE_AND_DIE, str(directory)])
    assert ended.returncode == -signal.SIGKILL
    return directory


@pytest.fixture
def data(killed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(killed, tmp_path / "data"))


def log(data: Path) -> Path:
    return data / "exemplar.db-wal"


def flip_in_the_middle(data: Path) -> None:
    content = bytearray(log(data).read_bytes())
    content[len(content) // 2] ^= 1
    log(data).write_bytes(content)


def cut(data: Path) -> None:
    os.truncate(log(data), log(data).stat().st_size // 2)


def damage_header(data: Path) -> None:
    log(data).write_bytes(b"\xff" * 32 + log(data).read_bytes()[32:])


def empty(data: Path) -> None:
    (data / "exemplar.db").write_bytes(b"")


def delete(data: Path) -> None:
    (data / "exemplar.db").unlink()


def copy_alone(data: Path) -> None:
    for file in data.iterdir():
        if file.name != "exemplar.db":
            shutil.rmtree(file) if file.is_dir() else file.unlink()


def count(data: Path) -> int:
    with closing(embedded(data)) as store:
        return store.get_gallery("g").class_count


def test_all_is_there_after_a_kill(data: Path) -> None:
    assert count(data) == CLASSES
    assert count(data) == CLASSES


@pytest.mark.parametrize(
    ("lose", "told"),
    [
        (flip_in_the_middle, r"holds \d+ changes of the 41 that were acknowledged: the last \d+ are lost"),
        (cut, r"holds \d+ changes of the 41 that were acknowledged"),
        (damage_header, "are lost|whether it is whole cannot be told|is gone|cannot be opened"),
        (lambda data: log(data).unlink(), "are lost|cannot be told"),
        (empty, "is empty, to which 41 changes were acknowledged"),
        (delete, "is gone, to which 41 changes were acknowledged"),
        (copy_alone, "cannot be told"),
        (lambda data: (data / MARK).unlink(), "no mark of what was acknowledged"),
        (lambda data: (data / MARK).write_bytes(bytes(1024)), "exemplar.mark.* is damaged"),
    ],
    ids=[
        "a flipped bit in the log",
        "half a log",
        "the log's header",
        "no log",
        "an empty database",
        "no database",
        "the database alone",
        "no mark",
        "a damaged mark",
    ],
)
def test_what_is_lost_is_told_and_nothing_is_changed(data: Path, lose: Callable[[Path], None], told: str) -> None:
    lose(data)
    before = {file.name: file.read_bytes() for file in data.iterdir() if file.is_file()}
    with pytest.raises(StartError, match=told) as refused:
        embedded(data)
    after = {file.name: file.read_bytes() for file in data.iterdir() if file.is_file()}
    kept = {"exemplar.db", "exemplar.mark"} & set(before)
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert "--accept-loss" in str(refused.value) or "cannot be opened" in str(refused.value)


@pytest.mark.parametrize("lose", [flip_in_the_middle, cut, empty, delete, lambda data: (data / MARK).unlink()])
def test_a_loss_that_is_accepted_is_served_and_not_asked_about_again(
    data: Path, lose: Callable[[Path], None]
) -> None:
    lose(data)
    with closing(open_store(f"sqlite:{data}", accept_loss=True)) as store:
        left = sum(gallery.class_count for gallery in store.list_galleries())
        if not left:
            store.create_gallery("g", "m", 4)
        store.put_classes("g", [new_class("later", 3)])
    assert left < CLASSES or lose not in (flip_in_the_middle, cut, empty, delete)
    assert count(data) == left + 1


def test_an_older_copy_of_the_database_in_its_place_is_refused(data: Path, tmp_path: Path) -> None:
    embedded(data).close()
    shutil.copy(data / "exemplar.db", tmp_path / "older")
    with closing(embedded(data)) as store:
        store.delete_class("g", "c1")
    shutil.copy(tmp_path / "older", data / "exemplar.db")
    with pytest.raises(StartError, match="holds 41 changes of the 42"):
        embedded(data)


def test_the_database_of_another_store_is_refused(data: Path, tmp_path: Path) -> None:
    embedded(data).close()
    with closing(embedded(tmp_path / "other")) as other:
        other.create_gallery("g", "m", 4)
        for number in range(60):
            other.put_classes("g", [new_class(f"c{number}", number)])
    shutil.copy(tmp_path / "other" / "exemplar.db", data / "exemplar.db")
    with pytest.raises(StartError, match="is another store than"):
        embedded(data)


@pytest.mark.parametrize("version", [0, 5])
def test_another_program_s_database_is_not_taken_over(tmp_path: Path, version: int) -> None:
    with closing(sqlite3.connect(tmp_path / "exemplar.db")) as database:
        database.executescript(f"CREATE TABLE recipes (name TEXT); PRAGMA user_version = {version};")
    with pytest.raises(StartError, match=r"is another program's|is no store"):
        embedded(tmp_path)
    with closing(sqlite3.connect(tmp_path / "exemplar.db")) as database:
        assert database.execute("SELECT name FROM sqlite_schema").fetchall() == [("recipes",)]


def test_a_backup_of_a_store_that_has_lost_something_is_refused(data: Path) -> None:
    cut(data)
    with pytest.raises(StartError, match="are lost"), open_snapshot(f"sqlite:{data}"):
        pass


def test_deleting_the_lock_file_lets_no_second_process_in(tmp_path: Path) -> None:
    with closing(embedded(tmp_path)):
        (tmp_path / "LOCK").unlink()
        said = subprocess.check_output([sys.executable, "-c", OPEN, str(tmp_path)], text=True)
    assert "is in use by another process" in said


@pytest.mark.parametrize(
    ("name", "told"),
    [(".", "the data directory {} cannot be used"), ("exemplar.db", "the database {} cannot be written")],
)
def test_a_store_that_nobody_may_write_is_refused(tmp_path: Path, name: str, told: str) -> None:
    embedded(tmp_path).close()
    path = tmp_path / name
    room = ["unshare", "-rm", "sh", "-c"]
    mount = f"mount --bind '{path}' '{path}' && mount -o remount,bind,ro '{path}'"
    if subprocess.run([*room, mount], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a disk in a namespace of his own")
    opened = [*room, f'{mount} && exec "$@"', "sh", sys.executable, "-c", OPEN, str(tmp_path)]
    said = subprocess.check_output(opened, text=True)
    assert said == f"{told.format(path)}: Read-only file system\n"


def test_who_had_a_store_that_another_opened_writes_no_more(tmp_path: Path) -> None:
    with closing(embedded(tmp_path)) as store:
        store.create_gallery("g", "m", 4)
        with closing(sqlite3.connect(tmp_path / "exemplar.db")) as other, other:
            other.execute("UPDATE store SET epoch = epoch + 1")  # as whoever opens it does
        with pytest.raises(UnavailableError, match="another process has opened"):
            store.put_classes("g", [new_class("a", 1)])
        assert store.get_gallery("g").class_count == 0


@pytest.mark.parametrize("gone", [True, False])
def test_nothing_is_acknowledged_that_would_go_to_a_file_without_a_name(tmp_path: Path, gone: bool) -> None:
    with closing(embedded(tmp_path)) as store:
        store.create_gallery("g", "m", 4)
        (tmp_path / "exemplar.db").rename(tmp_path / "moved")
        if not gone:
            (tmp_path / "exemplar.db").write_bytes(b"")
        with pytest.raises(UnavailableError, match="was replaced or deleted"):
            store.put_classes("g", [new_class("a", 1)])


def test_a_mark_that_was_torn_is_the_one_before(tmp_path: Path) -> None:
    mark = HighWaterMark(tmp_path)
    for changes in range(1, 6):
        mark.write(Mark("a" * 32, changes))
    mark.close()
    content = (tmp_path / MARK).read_bytes()
    for at in range(len(content)):
        torn = bytearray(content)
        torn[at] ^= 0x10
        (tmp_path / MARK).write_bytes(torn)
        found = HighWaterMark(tmp_path).read()
        assert found is not None
        assert found.changes in (4, 5)


def test_a_mark_goes_on_where_another_process_left_it(tmp_path: Path) -> None:
    for changes in range(1, 8):
        mark = HighWaterMark(tmp_path)
        mark.read()
        mark.write(Mark("a" * 32, changes))
        mark.close()
        content = (tmp_path / MARK).read_bytes()
        assert HighWaterMark(tmp_path).read() == Mark("a" * 32, changes)
        if changes > 1:  # the one before is still there, whole
            assert f" {changes - 1} ".encode() in content
