"""The archive: one committed state in one file, the same bytes for the same galleries, and no damage unnoticed."""

from __future__ import annotations

import hashlib
import io
import json
import re
import sqlite3
import subprocess
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from exemplar_server.errors import DataLossError, FailedPreconditionError, NotFoundError, StartError
from exemplar_server.store import NewClass
from exemplar_server.store.opening import open_snapshot, open_truth
from exemplar_server.store.truth.sqlite import pinned
from exemplar_server.transfer.archive import Archive
from exemplar_server.transfer.members import ArchiveError, MemberWriter
from exemplar_server.transfer.source import UNFINISHED, TruthSource
from tests.server.transfer.stocked import DIMENSION, SHELF, back_up, exemplar, load_many, members, stock


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    name = f"sqlite:{tmp_path_factory.mktemp('stocked')}"
    stock(name)
    return name


@pytest.fixture(scope="module")
def archive(store: str, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return back_up(store, tmp_path_factory.mktemp("archive") / "a.tar")


def opened(content: bytes, folder: Path) -> None:
    path = folder / "tried.tar"
    path.write_bytes(content)
    Archive(path).close()


def test_the_same_galleries_give_the_same_bytes(store: str, archive: bytes, tmp_path: Path) -> None:
    assert back_up(store, tmp_path / "again.tar") == archive
    assert [path.name for path in tmp_path.iterdir()] == ["again.tar"]


def test_tar_unpacks_it_and_sha256sum_finds_every_member_as_it_was(archive: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(archive)
    subprocess.run(["tar", "xf", "a.tar"], cwd=tmp_path, check=True)
    told = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path, check=True, capture_output=True
    )
    names = [name for name, _, _ in members(archive)]
    assert told.stdout.decode().splitlines() == [f"{name}: OK" for name in names[:-1]]
    assert names[-1] == "SHA256SUMS"
    described = json.loads((tmp_path / "galleries/rich/gallery.json").read_text())
    assert (described["revision"], described["class_count"], described["display_name"]) == (9, 4, "Zähler „A“")


def test_a_picture_is_in_it_once_a_gallery_however_many_classes_show_parts_of_it(archive: bytes) -> None:
    name = f"galleries/rich/images/{hashlib.sha256(SHELF).hexdigest()}"
    assert [each for each, _, _ in members(archive)].count(name) == 1
    (lines,) = [archive[start : start + size] for each, start, size in members(archive) if "rich/classes" in each]
    assert lines.decode().count(name.rpartition("/")[2] + '"}') == 3


def test_one_gallery_is_taken_alone_without_the_responses_that_are_of_all(store: str, tmp_path: Path) -> None:
    names = [name for name, _, _ in members(back_up(store, tmp_path / "one.tar", ["plain"]))]
    assert {name.split("/")[1] for name in names if "/" in name} == {"plain"}
    assert not any(name.startswith("responses/") for name in names)
    with pytest.raises(NotFoundError, match="no gallery 'other'"):
        back_up(store, tmp_path / "none.tar", ["other"])
    assert not (tmp_path / "none.tar").exists()


def test_a_large_gallery_goes_in_parts_whose_borders_depend_on_its_content_alone(tmp_path: Path) -> None:
    load_many(f"sqlite:{tmp_path / 'many'}", 2500)
    content = back_up(f"sqlite:{tmp_path / 'many'}", tmp_path / "many.tar")
    parts = [(start, size) for name, start, size in members(content) if "/classes/" in name]
    assert [content[start : start + size].count(b"\n") for start, size in parts] == [1000, 1000, 500]
    with closing(Archive(tmp_path / "many.tar")) as archive:
        assert [of.id for of in archive.classes("many")] == [f"{number:06}" for number in range(2500)]


def test_a_flipped_bit_in_a_member_is_told_by_its_name(archive: bytes, tmp_path: Path) -> None:
    for name, start, size in members(archive):
        if size and name != "SHA256SUMS":
            at = start + size // 2
            flipped = archive[:at] + bytes([archive[at] ^ 4]) + archive[at + 1 :]
            with pytest.raises(ArchiveError, match=re.escape(name)):
                opened(flipped, tmp_path)


def test_a_flipped_bit_anywhere_is_noticed(archive: bytes, tmp_path: Path) -> None:
    for at in range(0, len(archive), 97):
        with pytest.raises(ArchiveError, match=r"tried\.tar cannot be read: .*take another copy"):
            opened(archive[:at] + bytes([archive[at] ^ 1]) + archive[at + 1 :], tmp_path)


def test_an_archive_that_is_cut_off_or_longer_is_refused(archive: bytes, tmp_path: Path) -> None:
    for length in [*range(0, len(archive), 1009), len(archive) - 1]:
        with pytest.raises(ArchiveError, match=r"cut off|no archive|SHA-256"):
            opened(archive[:length], tmp_path)
    with pytest.raises(ArchiveError, match="something follows"):
        opened(archive + b"\0", tmp_path)


def test_a_missing_and_a_foreign_member_are_refused_though_the_rest_is_intact(archive: bytes, tmp_path: Path) -> None:
    found = list(members(archive))
    _, start, size = next(each for each in found if "/images/" in each[0])
    without = archive[: start - 512] + archive[start + size + -size % 512 :]
    with pytest.raises(ArchiveError, match="SHA-256"):
        opened(without, tmp_path)
    file = io.BytesIO()
    with closing(MemberWriter(file)) as writer:
        writer.add("archive.json", b'{"kind": "exemplar-archive", "format": 1}\n')
        writer.add("galleries/../../etc/passwd", b"")
        writer.finish()
    with pytest.raises(ArchiveError, match="does not belong there"):
        opened(file.getvalue(), tmp_path)


def test_a_gallery_whose_id_no_caller_could_choose_is_refused(archive: bytes, tmp_path: Path) -> None:
    name = "galleries/rich/gallery.json"
    start, size = next((start, size) for found, start, size in members(archive) if found == name)
    fields = json.loads(archive[start : start + size])
    file = io.BytesIO()
    with closing(MemberWriter(file)) as writer:
        writer.add("archive.json", b'{"kind": "exemplar-archive", "format": 1}\n')
        writer.add("galleries/../gallery.json", json.dumps(fields | {"id": ".."}).encode())
        writer.finish()
    with pytest.raises(ArchiveError, match="must be 1 to 63"):
        opened(file.getvalue(), tmp_path)


@pytest.mark.parametrize(
    "described", [b'{"kind": "exemplar-archive", "format": 2}', b'{"kind": "other"}', b"[]", b"{"]
)
def test_another_format_is_refused(described: bytes, tmp_path: Path) -> None:
    file = io.BytesIO()
    with closing(MemberWriter(file)) as writer:
        writer.add("archive.json", described)
        writer.finish()
    with pytest.raises(ArchiveError, match=r"its format is 2, and this program knows 1|no archive|not written as"):
        opened(file.getvalue(), tmp_path)


def test_another_tar_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "other.tar", "w") as tar:
        tar.add(__file__, "x.py")
    with pytest.raises(ArchiveError, match="no archive of this program's"):
        Archive(tmp_path / "other.tar")


def test_a_damaged_class_leaves_the_backup_of_before_in_place(tmp_path: Path) -> None:
    stock(f"sqlite:{tmp_path / 'data'}")
    before = back_up(f"sqlite:{tmp_path / 'data'}", tmp_path / "a.tar")
    with closing(sqlite3.connect(tmp_path / "data" / "exemplar.db")) as database:
        database.execute("UPDATE exemplars SET image = x'00' WHERE class = (SELECT row FROM classes WHERE id = 'c3')")
        database.commit()
    with pytest.raises(DataLossError, match="'c3' of gallery 'plain'"):
        back_up(f"sqlite:{tmp_path / 'data'}", tmp_path / "a.tar")
    assert (tmp_path / "a.tar").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"data", "a.tar"}


def test_a_damaged_and_an_unfinished_gallery_are_named_in_place_of_left_out(tmp_path: Path) -> None:
    stock(f"sqlite:{tmp_path / 'data'}")
    with closing(open_truth(f"sqlite:{tmp_path / 'data'}")) as truth:
        truth.create_gallery("half", UNFINISHED, DIMENSION)
    with pytest.raises(FailedPreconditionError, match="'half' of the store was not loaded to its end"):
        back_up(f"sqlite:{tmp_path / 'data'}", tmp_path / "a.tar")
    with closing(sqlite3.connect(tmp_path / "data" / "exemplar.db")) as database:
        database.execute("UPDATE galleries SET revision = 99 WHERE id = 'empty'")
        database.commit()
    with pytest.raises(DataLossError, match="row of gallery 'empty' is damaged"):
        back_up(f"sqlite:{tmp_path / 'data'}", tmp_path / "a.tar")
    assert back_up(f"sqlite:{tmp_path / 'data'}", tmp_path / "a.tar", ["rich", "plain"])


# Snapshots


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_snapshot_is_one_state_while_others_change_the_store(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    name = f"sqlite:{tmp_path / 'data'}" if kind == "sqlite" else str(request.getfixturevalue("postgres_url"))
    stock(name)
    before = back_up(name, tmp_path / "before.tar")
    with closing(open_truth(name)) as truth, open_snapshot(name) as snapshot:
        truth.put_classes("plain", [NewClass("later", [exemplar(50, b"later")])])
        truth.delete_class("plain", "c1")
        truth.delete_gallery("rich", force=True)
        source = TruthSource(snapshot, "")
        assert [gallery.id for gallery in source.galleries()] == ["empty", "plain", "rich"]
        assert [of.id for of in source.classes("plain")] == [f"c{seed}" for seed in range(9)]
        assert len(list(source.classes("rich"))) == 4
    assert back_up(name, tmp_path / "after.tar") != before


def test_a_snapshot_changes_nothing_and_needs_no_lock(tmp_path: Path) -> None:
    stock(f"sqlite:{tmp_path / 'data'}")
    with (
        closing(open_truth(f"sqlite:{tmp_path / 'data'}")),
        pinned(tmp_path / "data") as lend,
        lend() as connection,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        connection.execute("DELETE FROM classes")


@pytest.mark.parametrize(
    ("version", "sentence"),
    [(3, "an older format .3, .*start this version's server on it once"), (99, "another version")],
)
def test_a_snapshot_of_another_format_is_refused(version: int, sentence: str, tmp_path: Path) -> None:
    stock(f"sqlite:{tmp_path}")
    with closing(sqlite3.connect(tmp_path / "exemplar.db")) as database:
        database.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(StartError, match=sentence), open_snapshot(f"sqlite:{tmp_path}"):
        pass


def test_a_snapshot_makes_no_store_where_there_is_none(tmp_path: Path, postgres_url: str) -> None:
    with pytest.raises(StartError, match="there is no store in"), open_snapshot(f"sqlite:{tmp_path / 'nowhere'}"):
        pass
    assert not (tmp_path / "nowhere").exists()
    for _ in range(2):
        with pytest.raises(StartError, match="another version"), open_snapshot(postgres_url):
            pass
