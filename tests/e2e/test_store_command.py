"""`exemplar store` as it is called: beside a server that writes, killed and run again, and told of damage."""

from __future__ import annotations

import itertools
import json
import queue
import sqlite3
import subprocess
import tarfile
import threading
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest

from demo.server_process import EXEMPLAR, ServerProcess, clean_environment
from exemplar import Client
from exemplar.v1 import gallery_service_pb2 as galleries
from exemplar_server.errors import StartError
from exemplar_server.store.opening import open_snapshot
from exemplar_server.transfer.source import UNFINISHED
from tests.client.command import run as exemplar
from tests.e2e.stubs import Stubs, classify, image, png, refusal
from tests.server.transfer.stocked import back_up, load_many, stock

PICTURES = [png(seed=seed) for seed in range(3)]


def listed(archive: Path, gallery: str) -> list[dict[str, Any]]:
    """Return the classes of a gallery in an archive, as anybody would read them."""
    with tarfile.open(archive) as tar:
        parts = [each for each in tar if each.name.startswith(f"galleries/{gallery}/classes/")]
        return [json.loads(line) for part in parts for line in tar.extractfile(part) or ()]


def killed_halfway(store: str, *words: object) -> None:
    """Run a command that loads gallery `many` into a store, and kill it while half of that is there."""
    command = [EXEMPLAR, "store", *map(str, words)]
    process = subprocess.Popen(command, env=clean_environment(), stdout=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            with open_snapshot(store) as snapshot:
                if any(gallery.class_count for gallery in snapshot.all_galleries()):
                    process.kill()
        except StartError:  # not even its tables are there
            pass
    assert process.returncode == -9, "the command ended before it was killed"
    with open_snapshot(store) as snapshot:
        (half,) = snapshot.all_galleries()
    assert half.model == UNFINISHED
    assert 0 < half.class_count <= 5000


# Backup and restore


def enroll_batch(stubs: Stubs, number: int) -> int:
    """Enroll three classes in one call, which is known by its number; return the gallery's revision."""
    enrollments = [
        galleries.Enrollment(class_id=f"{number:05}-{part}", images=[image(PICTURES[part])]) for part in range(3)
    ]
    request = galleries.BatchEnrollClassesRequest(
        gallery="galleries/g", enrollments=enrollments, request_id=str(uuid.UUID(int=number, version=4))
    )
    return int(stubs.galleries.BatchEnrollClasses(request).gallery_revision)


def test_a_backup_beside_a_server_that_writes_is_one_committed_state_and_comes_back_as_such(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    stop = threading.Event()
    written: queue.SimpleQueue[int] = queue.SimpleQueue()

    def write(stubs: Stubs) -> None:
        for number in itertools.count():
            written.put(enroll_batch(stubs, number))
            if stop.is_set():
                return

    with ServerProcess(tiny_bundle, tmp_path / "data") as server:
        stubs = Stubs(server.channel())
        stubs.galleries.CreateGallery(galleries.CreateGalleryRequest(gallery_id="g"))
        writer = threading.Thread(target=write, args=(stubs,))
        writer.start()
        sizes = []
        for name in ("first", "second"):
            while not written.empty():
                written.get()
            written.get(timeout=60)  # one more than when the last backup ended
            done = exemplar("store", "backup", tmp_path / name, "--store", tmp_path / "data")
            assert done.returncode == 0, done.stderr
            found = [of["id"] for of in listed(tmp_path / name, "g")]
            assert found == [f"{number:05}-{part}" for number in range(len(found) // 3) for part in range(3)]
            sizes.append(len(found))
        assert 0 < sizes[0] < sizes[1]
        told = exemplar("store", "verify", "--store", tmp_path / "data")
        assert told.returncode == 0, told.stderr
        stop.set()
        writer.join(60)
    done = exemplar("store", "restore", tmp_path / "second", "--store", tmp_path / "restored", "--json")
    assert json.loads(done.stdout)["galleries"][0]["classes"] == sizes[1]
    assert back_up(f"sqlite:{tmp_path / 'restored'}", tmp_path / "again") == (tmp_path / "second").read_bytes()
    with ServerProcess(tiny_bundle, tmp_path / "restored") as server:
        stubs = Stubs(server.channel())
        assert len(classify(stubs, "galleries/g", PICTURES[1]).matches) > 0
        assert enroll_batch(stubs, 0) == 2  # as it was answered then
        assert enroll_batch(stubs, 1_000_000) == sizes[1] // 3 + 2


def test_a_restore_that_was_killed_is_completed_by_the_same_command_and_is_not_served_before(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    load_many(f"sqlite:{tmp_path / 'data'}", 5000)
    archive, target = tmp_path / "a.tar", tmp_path / "restored"
    before = back_up(f"sqlite:{tmp_path / 'data'}", archive)
    killed_halfway(f"sqlite:{target}", "restore", archive, "--store", target)
    with ServerProcess(tiny_bundle, target) as server, pytest.raises(grpc.RpcError) as refused:
        classify(Stubs(server.channel()), "galleries/many", PICTURES[0])
    assert refusal(refused.value)[1] == "MODEL_MISMATCH"
    told = exemplar("store", "verify", "--store", target)
    assert (told.returncode, "not loaded to its end" in told.stderr) == (1, True)
    done = exemplar("store", "restore", archive, "--store", target)
    assert (done.returncode, "completed" in done.stdout) == (0, True)
    assert back_up(f"sqlite:{target}", tmp_path / "b.tar") == before


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_migration_that_was_killed_is_completed_by_the_same_command(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    source = tmp_path / "data"
    load_many(f"sqlite:{source}", 5000)
    target = f"sqlite:{tmp_path / 'to'}" if kind == "sqlite" else str(request.getfixturevalue("postgres_url"))
    killed_halfway(target, "migrate", source, target)
    done = exemplar("store", "migrate", source, target, "--json")
    assert [each["outcome"] for each in json.loads(done.stdout)["galleries"]] == ["completed"]
    assert back_up(target, tmp_path / "b.tar") == back_up(f"sqlite:{source}", tmp_path / "a.tar")
    again = exemplar("store", "migrate", source, target)
    assert (again.returncode, "there already" in again.stdout) == (0, True)


def test_a_store_that_went_to_postgresql_and_back_exports_the_same_bytes(tmp_path: Path, postgres_url: str) -> None:
    stock(f"sqlite:{tmp_path / 'data'}")
    for words in (
        ("migrate", tmp_path / "data", postgres_url),
        ("migrate", postgres_url, tmp_path / "back"),
        ("backup", tmp_path / "a.tar", "--store", tmp_path / "data"),
        ("backup", tmp_path / "b.tar", "--store", postgres_url),
        ("backup", tmp_path / "c.tar", "--store", tmp_path / "back"),
        ("restore", tmp_path / "a.tar", "--store", tmp_path / "restored"),
        ("backup", tmp_path / "d.tar", "--store", tmp_path / "restored"),
        ("verify", "--store", postgres_url),
    ):
        done = exemplar("store", *words)
        assert done.returncode == 0, done.stderr
    contents = {(tmp_path / f"{name}.tar").read_bytes() for name in "abcd"}
    assert len(contents) == 1


# What is told


@pytest.fixture
def stocked(tmp_path: Path) -> Path:
    stock(f"sqlite:{tmp_path / 'data'}")
    back_up(f"sqlite:{tmp_path / 'data'}", tmp_path / "a.tar")
    return tmp_path


def test_a_flipped_bit_in_an_archive_is_named_and_nothing_is_restored(stocked: Path) -> None:
    content = (stocked / "a.tar").read_bytes()
    at = content.index(b'"c3"')
    (stocked / "a.tar").write_bytes(content[:at] + b"'" + content[at + 1 :])
    told = exemplar("store", "restore", stocked / "a.tar", "--store", stocked / "restored")
    assert told.returncode == 1
    assert told.stderr.startswith(f"exemplar: {stocked / 'a.tar'} cannot be read: ")
    assert "galleries/plain/classes/000000.jsonl" in told.stderr
    assert not (stocked / "restored").exists()


def test_damage_in_a_store_is_named_and_costs_exit_code_1(stocked: Path) -> None:
    with closing(sqlite3.connect(stocked / "data" / "exemplar.db")) as database:
        database.execute("UPDATE classes SET display_name = 'x' WHERE id IN ('c3', 'A')")
        database.commit()
    told = exemplar("store", "verify", "--store", stocked / "data")
    assert told.returncode == 1
    assert told.stderr.splitlines() == [
        f"exemplar: gallery '{gallery}': class '{name}': its row does not match its checksum"
        for gallery, name in (("plain", "c3"), ("rich", "A"))
    ]
    told = exemplar("store", "verify", "--store", stocked / "data", "--json")
    assert [each["class_id"] for each in json.loads(told.stdout)["damage"]] == ["c3", "A"]
    told = exemplar("store", "backup", stocked / "b.tar", "--store", stocked / "data")
    assert (told.returncode, "'c3' of gallery 'plain'" in told.stderr) == (1, True)
    assert not (stocked / "b.tar").exists()


def test_a_store_may_be_named_in_the_environment_and_tables_align(stocked: Path) -> None:
    done = exemplar("store", "backup", stocked / "b.tar", "-g", "plain", EXEMPLAR_STORE=f"sqlite:{stocked / 'data'}")
    assert done.returncode == 0, done.stderr
    lines = [line.rstrip() for line in done.stdout.splitlines() if line.strip()]
    assert [line.split() for line in (lines[0], lines[2])] == [
        ["gallery", "classes", "exemplars", "image", "bytes"],
        ["plain", "9", "9", "9"],
    ]
    assert len(lines[0]) == len(lines[2])
    assert lines[3] == f"{stocked / 'b.tar'}: {(stocked / 'b.tar').stat().st_size:,} bytes, 0 kept responses"


REFUSED: dict[str, tuple[Callable[[Path], list[object]], int, str]] = {
    "another gallery": (
        lambda at: ["restore", at / "a.tar", "--store", at / "other"],
        1,
        "there is another gallery 'empty' in sqlite:",
    ),
    "no store": (lambda at: ["verify", "--store", at / "nowhere"], 1, "there is no store in "),
    "no such kind": (lambda at: ["verify", "--store", "mysql://x"], 2, "there is no store 'mysql://x': give sqlite:"),
    "no gallery": (
        lambda at: ["backup", at / "b.tar", "--store", at / "data", "-g", "x"],
        1,
        "there is no gallery 'x'",
    ),
    "no archive": (
        lambda at: ["restore", at / "data/exemplar.db", "--store", at / "r"],
        1,
        "no archive of this program",
    ),
    "no file": (lambda at: ["restore", at / "none.tar", "--store", at / "r"], 2, "none.tar' does not exist"),
    "no folder": (lambda at: ["backup", at / "no/b.tar", "--store", at / "data"], 2, "No such file or directory"),
    "to itself": (lambda at: ["migrate", at / "data", f"sqlite:{at / 'data'}"], 2, "FROM and TO are the same store"),
    "no store is said": (lambda at: ["verify"], 2, "--store"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_done_is_told_in_one_line(name: str, stocked: Path) -> None:
    words, code, sentence = REFUSED[name]
    if name == "another gallery":
        stock(f"sqlite:{stocked / 'other'}")
    told = exemplar("store", *words(stocked))
    assert (told.returncode, told.stderr.startswith("exemplar: ")) == (code, True), told.stderr
    assert sentence in told.stderr
    assert len(told.stderr.splitlines()) == 1


def test_a_store_that_is_in_use_is_neither_restored_to_nor_migrated_from(tiny_bundle: Path, stocked: Path) -> None:
    with ServerProcess(tiny_bundle, stocked / "data") as server:
        server.wait_until_serving()
        for words in (
            ("migrate", stocked / "data", stocked / "other"),
            ("restore", stocked / "a.tar", "--store", stocked / "data"),
        ):
            told = exemplar("store", *words)
            assert (told.returncode, f"in use by process {server.pid}" in told.stderr) == (1, True)


def test_an_exported_gallery_is_taken_to_another_server(tiny_bundle: Path, tmp_path: Path) -> None:
    with ServerProcess(tiny_bundle, tmp_path / "data") as server, Client(server.address) as client:
        for gallery in ("stamps", "secret"):
            client.create_gallery(gallery)
            client.enroll(gallery, "a", PICTURES[0])
        before = client.get_gallery("stamps")
        assert (
            exemplar(
                "store", "backup", tmp_path / "stamps.tar", "--store", tmp_path / "data", "-g", "stamps"
            ).returncode
            == 0
        )
    assert exemplar("store", "restore", tmp_path / "stamps.tar", "--store", tmp_path / "elsewhere").returncode == 0
    with ServerProcess(tiny_bundle, tmp_path / "elsewhere") as server, Client(server.address) as client:
        assert list(client.galleries()) == [before]
