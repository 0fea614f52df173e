"""The embedded store beyond the interface: one process, no silent damage, nothing acknowledged lost."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from exemplar_encoder.arrays import Floats
from exemplar_server.errors import DataLossError, ResourceExhaustedError, StartError
from exemplar_server.store import Exemplar, GalleryChanges, NewClass, NewExemplar, open_store
from exemplar_server.store.opening import open_snapshot
from tests.calibrations import made_up
from tests.contract.stores import embedded

DIMENSION = 4
IMAGE = hashlib.sha256(b"image").hexdigest()


def new_exemplar(value: float, image: bytes = b"image") -> NewExemplar:
    embedding = np.array([value, 1, 0, 0], np.float32)
    return NewExemplar(Exemplar(hashlib.sha256(image).hexdigest(), 3, 4, "PNG", len(image)), image, embedding)


def new_class(class_id: str, value: float, image: bytes = b"image") -> NewClass:
    return NewClass(class_id, [new_exemplar(value, image)])


def query(value: float) -> Floats:
    return np.array([[value, 1, 0, 0]], np.float32)


def damage(directory: Path, statement: str) -> None:
    database = sqlite3.connect(directory / "exemplar.db")
    assert database.execute(statement).rowcount == 1
    database.commit()
    database.close()


@pytest.fixture
def two_galleries(tmp_path: Path) -> Path:
    store = embedded(tmp_path)
    for gallery in ("broken", "whole"):
        store.create_gallery(gallery, "m", DIMENSION)
        store.put_classes(gallery, [new_class("a", 1), new_class("b", 2)])
    store.close()
    return tmp_path


def test_a_copy_that_sqlite_takes_of_an_open_store_is_a_store_of_the_same_state_for_who_accepts_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "backup").mkdir()
    store = embedded(tmp_path / "data")
    store.create_gallery("g", "m", DIMENSION)
    store.put_classes("g", [new_class("a", 1), new_class("b", 2)])
    with closing(sqlite3.connect(tmp_path / "data" / "exemplar.db")) as database:
        database.execute("VACUUM INTO ?", [str(tmp_path / "backup" / "exemplar.db")])
    store.put_classes("g", [new_class("later", 3)])
    with pytest.raises(StartError, match="whether it is whole cannot be told"):
        embedded(tmp_path / "backup")
    copy = open_store(f"sqlite:{tmp_path / 'backup'}", accept_loss=True)
    assert copy.list_classes("g") == [each for each in store.list_classes("g") if each.id != "later"]
    assert [near.class_id for near in copy.search("g", query(1), 3).results[0]] == ["a", "b"]
    copy.close()
    store.close()


# One process


def test_a_second_store_on_the_same_directory_is_refused_naming_the_holder(tmp_path: Path) -> None:
    store = embedded(tmp_path)
    with pytest.raises(StartError, match=f"in use by process {os.getpid()}"):
        embedded(tmp_path)
    store.close()
    embedded(tmp_path).close()


def test_a_directory_that_cannot_be_made_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="cannot be used"):
        embedded(tmp_path / "file" / "data")


@pytest.mark.parametrize("version", [1, 2, 99])
def test_a_database_of_another_version_is_refused_and_left_alone(two_galleries: Path, version: int) -> None:
    database = sqlite3.connect(two_galleries / "exemplar.db")
    database.execute(f"PRAGMA user_version = {version}")
    database.close()
    with pytest.raises(StartError, match=f"another version .its format is {version}.*another data directory"):
        embedded(two_galleries)
    database = sqlite3.connect(two_galleries / "exemplar.db")
    assert database.execute("SELECT count(*) FROM classes").fetchone() == (4,)
    database.close()


def test_a_database_of_the_format_before_is_brought_to_this_one_with_all_that_it_holds(two_galleries: Path) -> None:
    with closing(sqlite3.connect(two_galleries / "exemplar.db")) as database:
        database.executescript(
            "DROP TABLE store; DROP TABLE changes; DROP INDEX classes_by_gallery; DROP INDEX requests_by_time;"
            "CREATE INDEX requests_by_time ON requests (time); PRAGMA user_version = 3;"
        )
    (two_galleries / "exemplar.mark").unlink()
    store = embedded(two_galleries)
    assert [record.id for record in store.list_classes("whole")] == ["a", "b"]
    assert store.search("whole", query(2), 1).results[0][0].class_id == "b"
    store.put_classes("whole", [new_class("later", 3)])
    assert store.search("whole", query(3), 1).results[0][0].class_id == "later"
    store.close()
    embedded(two_galleries).close()


@pytest.mark.parametrize("assignment", ["calibration = NULL", "calibration = replace(calibration, '0.5', '0.6')"])
def test_a_calibration_that_was_altered_or_lost_is_never_applied(two_galleries: Path, assignment: str) -> None:
    store = embedded(two_galleries)
    store.update_gallery("broken", GalleryChanges(frozenset({"calibration"}), calibration=made_up()))
    store.close()
    damage(two_galleries, f"UPDATE galleries SET {assignment} WHERE id = 'broken'")
    store = embedded(two_galleries)
    with pytest.raises(DataLossError, match="its own row"):
        store.get_gallery("broken")
    assert store.get_gallery("whole").class_count == 2
    store.close()


def test_a_file_that_is_no_database_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "exemplar.db").write_bytes(b"not a database " * 1000)
    with pytest.raises(StartError, match=r"exemplar\.db cannot be opened"):
        embedded(tmp_path)


# Damage


@pytest.mark.parametrize(
    "assignment",
    [
        "embedding = zeroblob(16)",
        "embedding = x'00'",
        "attributes = '{'",
        "display_name = CAST(x'ff' AS TEXT)",
        "created = 1",
        "checksum = zeroblob(16)",
    ],
)
def test_a_damaged_class_stops_its_own_gallery_only_until_it_is_enrolled_again(
    two_galleries: Path, assignment: str
) -> None:
    damage(two_galleries, f"UPDATE classes SET {assignment} WHERE gallery = 'broken' AND id = 'a'")
    store = embedded(two_galleries)
    with pytest.raises(DataLossError, match="'a' of gallery 'broken'"):
        store.search("broken", query(1), 1)
    with pytest.raises(DataLossError, match="'a' of gallery 'broken'"):
        store.get_class("broken", "a")
    with pytest.raises(DataLossError, match="'a' of gallery 'broken'"):
        store.update_class("broken", "a", display_name="A")
    with pytest.raises(DataLossError, match="'a' of gallery 'broken'"):
        store.add_exemplars("broken", "a", [new_exemplar(3, b"new")])
    assert store.get_class("broken", "b").id == "b"
    assert [(each.id, each.damaged) for each in store.list_classes("broken")] == [("a", True), ("b", False)]
    assert list(store.damage()) == ["broken"]
    assert store.search("whole", query(1), 1).results[0][0].class_id == "a"
    store.put_classes("broken", [new_class("a", 5)])
    assert store.search("broken", query(5), 1).results[0][0].class_id == "a"
    assert not store.damage()
    assert store.get_gallery("broken").class_count == 2
    store.close()
    store = embedded(two_galleries)
    assert store.search("broken", query(5), 1).results[0][0].class_id == "a"
    store.close()


def test_deleting_a_damaged_class_mends_its_gallery(two_galleries: Path) -> None:
    damage(two_galleries, "UPDATE classes SET embedding = x'' WHERE gallery = 'broken' AND id = 'a'")
    store = embedded(two_galleries)
    store.delete_class("broken", "a")
    found = store.search("broken", query(1), 5)
    assert ([c.class_id for c in found.results[0]], found.gallery.class_count) == (["b"], 1)
    store.close()


def test_a_class_that_went_missing_is_noticed(two_galleries: Path) -> None:
    damage(two_galleries, "DELETE FROM classes WHERE gallery = 'broken' AND id = 'a'")
    store = embedded(two_galleries)
    with pytest.raises(DataLossError, match="has 1 classes where 2 were stored"):
        store.search("broken", query(1), 1)
    assert store.search("whole", query(1), 1).gallery.class_count == 2
    store.close()


def test_a_gallery_whose_own_row_is_damaged_is_refused_and_can_be_deleted(two_galleries: Path) -> None:
    damage(two_galleries, "UPDATE galleries SET dimension = 5 WHERE id = 'broken'")
    store = embedded(two_galleries)
    with pytest.raises(DataLossError, match="'broken' is damaged"):
        store.get_gallery("broken")
    assert [gallery.id for gallery in store.list_galleries()] == ["whole"]
    assert list(store.damage()) == ["broken"]
    store.delete_gallery("broken", force=True)
    assert not store.damage()
    store.create_gallery("broken", "m", DIMENSION)
    assert store.search("broken", query(1), 1).results == [[]]
    store.close()


def overwrite_first_page(directory: Path, table: str) -> None:
    database = sqlite3.connect(directory / "exemplar.db")
    page_size = database.execute("PRAGMA page_size").fetchone()[0]
    root = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()[0]
    database.close()
    with open(directory / "exemplar.db", "r+b") as file:
        file.seek((root - 1) * page_size)
        file.write(b"\xff" * page_size)


def test_a_damaged_page_of_galleries_stops_the_start_with_a_sentence(two_galleries: Path) -> None:
    overwrite_first_page(two_galleries, "galleries")
    with pytest.raises(StartError, match=r"exemplar\.db is damaged .*Restore a copy"):
        embedded(two_galleries)


def test_a_damaged_page_of_classes_is_refused_and_told_as_damage_to_who_accepts_that(two_galleries: Path) -> None:
    overwrite_first_page(two_galleries, "classes")
    with pytest.raises(StartError, match=r"exemplar\.db is damaged .*--accept-loss"):
        embedded(two_galleries)
    store = open_store(f"sqlite:{two_galleries}", accept_loss=True)
    for gallery in ("broken", "whole"):
        with pytest.raises(DataLossError, match=f"'{gallery}' is damaged: the server's database is damaged"):
            store.search(gallery, query(1), 1)
    store.create_gallery("new", "m", DIMENSION)
    assert [gallery.id for gallery in store.list_galleries()] == ["new"]
    store.close()


@pytest.mark.parametrize("column", ["image", "sha256", "width", "region", "embedding"])
def test_a_damaged_exemplar_is_never_handed_out(two_galleries: Path, column: str) -> None:
    value = {"width": "9", "region": "'#xywh=pixel:0,0,1,1'"}.get(column, "x'00'")
    damage(
        two_galleries,
        f"UPDATE exemplars SET {column} = {value}"
        " WHERE class = (SELECT row FROM classes WHERE id = 'a' AND gallery = 'broken')",
    )
    store = embedded(two_galleries)
    with pytest.raises(DataLossError, match="'a' of gallery 'broken'"):
        store.exemplar_image("broken", "a", IMAGE)
    if column != "image":  # an image goes into no mean
        with pytest.raises(DataLossError, match="'a' of gallery 'broken'"):
            store.add_exemplars("broken", "a", [new_exemplar(3, b"new")])
    assert store.exemplar_image("whole", "a", IMAGE)[0] == b"image"
    assert store.search("broken", query(1), 1).results[0][0].class_id == "a"
    store.close()


# Room


def test_a_full_disk_is_told_and_changes_nothing(tmp_path: Path) -> None:
    store = embedded(tmp_path, max_bytes=200_000)
    store.create_gallery("g", "m", DIMENSION, max_exemplars_per_class=3)
    store.put_classes("g", [new_class("small", 1)])
    before = store.get_gallery("g"), store.list_classes("g"), store.search("g", query(1), 5).results
    with pytest.raises(ResourceExhaustedError, match="no room") as refused:
        store.put_classes("g", [new_class("first", 2), new_class("large", 3, bytes(400_000))])
    assert refused.value.reason == "DISK_FULL"
    with pytest.raises(ResourceExhaustedError, match="no room"):
        store.add_exemplars("g", "small", [new_exemplar(2, b"first"), new_exemplar(3, bytes(400_000))])
    assert (store.get_gallery("g"), store.list_classes("g"), store.search("g", query(1), 5).results) == before
    store.put_classes("g", [new_class("other", 2)])
    store.close()
    store = embedded(tmp_path)
    assert [record.id for record in store.list_classes("g")] == ["other", "small"]
    store.close()


# Kill


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_sqlite import DIMENSION, embedded, new_class

store = embedded(Path(sys.argv[1]))
store.create_gallery("g", "m", DIMENSION)
number = 0
while True:
    batch = [new_class(f"c{number + offset:06}", number + offset) for offset in range(3)]
    store.put_classes("g", batch)
    number += 3
    print(number, flush=True)
"""


CHANGER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_sqlite import DIMENSION, embedded, new_class, new_exemplar

store = embedded(Path(sys.argv[1]))
store.create_gallery("g", "m", DIMENSION, max_exemplars_per_class=4)
store.put_classes("g", [new_class("a", 0, b"0")])
number = 0
while True:
    number += 1
    record, _ = store.add_exemplars("g", "a", [new_exemplar(number, b"%d" % number)])
    if len(record.exemplars) == 4:
        store.remove_exemplar("g", "a", record.exemplars[1].sha256)
    print(number, flush=True)
"""


CALIBRATOR = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_sqlite import DIMENSION, embedded, GalleryChanges, made_up

store = embedded(Path(sys.argv[1]))
store.create_gallery("g", "m", DIMENSION)
number = 0
while True:
    number += 1
    fields = frozenset({"calibration", "false_accept_rate"})
    store.update_gallery("g", GalleryChanges(fields, "", 1 / (1 + number), None, made_up(number)))
    print(number, flush=True)
"""


def last_acknowledged_before_a_kill_nine(program: str, directory: Path, wanted: int) -> int:
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(directory), str(Path(__file__).parent)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    acknowledged = 0
    while acknowledged < wanted:
        acknowledged = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().split()
    process.wait()
    process.stdout.close()
    return max([acknowledged, *(int(number) for number in rest)])


def test_everything_acknowledged_before_a_kill_nine_is_there_and_batches_are_whole(tmp_path: Path) -> None:
    acknowledged = last_acknowledged_before_a_kill_nine(WRITER, tmp_path, 60)
    store = embedded(tmp_path)
    ids = [record.id for record in store.list_classes("g", limit=100_000)]
    assert ids == [f"c{number:06}" for number in range(len(ids))]
    assert len(ids) >= acknowledged
    assert len(ids) % 3 == 0
    for number in range(len(ids)):
        (nearest,) = store.search("g", query(number), 1).results[0]
        assert (nearest.class_id, nearest.distance) == (f"c{number:06}", 0.0)
    store.close()


def test_exemplars_acknowledged_before_a_kill_nine_are_there_and_their_class_is_their_mean(tmp_path: Path) -> None:
    acknowledged = last_acknowledged_before_a_kill_nine(CHANGER, tmp_path, 40)
    store = embedded(tmp_path)
    exemplars = store.get_class("g", "a").exemplars
    held = [int(store.exemplar_image("g", "a", exemplar.sha256)[0]) for exemplar in exemplars]
    assert held[0] == 0  # the first is never removed
    assert max(held) >= acknowledged
    # The second goes whenever there are four, so the others are the newest.
    assert held[1:] == list(range(max(held) - len(held) + 2, max(held) + 1))
    together = NewClass("a", [new_exemplar(number) for number in held])
    (nearest,) = store.search("g", together.embedding()[None, :], 1).results[0]
    assert nearest.distance == 0.0
    store.close()


def test_a_calibration_acknowledged_before_a_kill_nine_is_there_whole(tmp_path: Path) -> None:
    acknowledged = last_acknowledged_before_a_kill_nine(CALIBRATOR, tmp_path, 40)
    store = embedded(tmp_path)
    gallery = store.get_gallery("g")
    assert gallery.calibration is not None
    number = int(gallery.calibration.factors[0][0])
    assert acknowledged <= number <= acknowledged + 1
    assert (gallery.calibration, gallery.false_accept_rate) == (made_up(number), 1 / (1 + number))
    store.close()


# Space


def test_what_deletions_leave_is_given_back_to_the_disk_while_the_store_is_open(tmp_path: Path) -> None:
    store = embedded(tmp_path)
    store.create_gallery("g", "m", DIMENSION)
    image = bytes(10_000)
    for start in range(0, 2000, 200):
        store.put_classes("g", [new_class(f"c{n}", n, image) for n in range(start, start + 200)])
    files = [tmp_path / "exemplar.db", tmp_path / "exemplar.db-wal"]
    before = sum(file.stat().st_size for file in files)
    for number in range(2000):
        store.delete_class("g", f"c{number}")
    steps = 0
    while store.reclaim():
        steps += 1
    assert steps > 3
    assert sum(file.stat().st_size for file in files) < before / 4
    assert not store.reclaim()
    store.put_classes("g", [new_class("later", 3)])
    assert store.search("g", query(3), 1).results[0][0].class_id == "later"
    store.close()
    store = embedded(tmp_path)
    assert [record.id for record in store.list_classes("g")] == ["later"]
    store.close()


def test_a_reader_of_an_older_state_neither_waits_nor_is_waited_for(tmp_path: Path) -> None:
    store = embedded(tmp_path)
    store.create_gallery("g", "m", DIMENSION)
    store.put_classes("g", [new_class(f"c{n}", n, bytes(10_000)) for n in range(1200)])
    with open_snapshot(f"sqlite:{tmp_path}") as snapshot:
        for number in range(1200):
            store.delete_class("g", f"c{number}")
        while store.reclaim():
            pass
        assert [gallery.class_count for gallery in snapshot.all_galleries()] == [1200]
    assert store.get_gallery("g").class_count == 0
    store.close()
