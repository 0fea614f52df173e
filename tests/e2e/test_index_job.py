"""Bulk jobs against the real server: killed, interrupted, changed and rehearsed, and right in the end."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from demo.server_process import EXEMPLAR, ServerProcess, clean_environment
from exemplar import Client, Region
from tests.client.command import run as exemplar
from tests.indexer.held_up import HeldUp, held_up

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.address) as connected:
        yield connected


def picture(seed: int) -> bytes:
    """Return a random block pattern, another for each seed."""
    blocks = np.random.default_rng(seed).integers(0, 2, (6, 6), dtype=np.uint8) * 255
    buffer = io.BytesIO()
    Image.fromarray(blocks).resize((36, 36), Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


def folder_of(path: Path, count: int) -> set[str]:
    path.mkdir()
    for number in range(count):
        (path / f"c{number:05}.png").write_bytes(picture(number))
    return {f"c{number:05}" for number in range(count)}


def summary(job: Path) -> dict[str, Any]:
    return dict(json.loads((job / "summary.json").read_text()))


def list_of(source: Path, names: Sequence[str], last: HeldUp) -> None:
    """Write a manifest of pictures beside it, of which the last is held up."""
    rows = [f"{name},pictures/{name}.png\n" for name in names[:-1]]
    source.write_text("id,image\n" + "".join([*rows, f"{names[-1]},{last.url}\n"]))


def start(
    source: Path, gallery: str, job: Path, address: str, *more: str, stderr: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    command = [EXEMPLAR, "index", str(source), "-g", gallery, "--create", "--job", str(job), "--address", address]
    return subprocess.Popen([*command, *more], env=clean_environment(), stderr=stderr, stdout=subprocess.DEVNULL)


def wait_until_enrolled(client: Client, gallery: str, count: int, job: subprocess.Popen[Any]) -> None:
    while job.poll() is None:
        if any(each.id == gallery and each.class_count >= count for each in client.galleries()):
            return
    pytest.fail(f"the job ended with {job.returncode} before {count} classes were in")


@pytest.mark.slow
def test_a_job_killed_twice_ends_with_every_class_present_once(client: Client, tmp_path: Path) -> None:
    count, batch, in_flight = 600, 2, 2
    wanted = folder_of(tmp_path / "pictures", count)
    (tmp_path / "pictures" / "bad.png").write_bytes(b"no image")
    source = tmp_path / "pictures.csv"
    job = tmp_path / "job"
    more = ("--batch-size", str(batch), "--in-flight", str(in_flight))
    with held_up(picture(count - 1)) as last:
        list_of(source, ["bad", *sorted(wanted)], last)
        for threshold in (count // 4, count // 2):
            process = start(source, "killed", job, client.address, *more)
            wait_until_enrolled(client, "killed", threshold, process)
            process.kill()
            assert process.wait() == -signal.SIGKILL
        last.release()
        done = exemplar("index", source, "-g", "killed", "--job", job, "--address", client.address, "--json")
    assert done.returncode == 1, done.stderr  # for the one bad picture
    found = json.loads(done.stdout)
    assert found == summary(job)
    assert (found["complete"], found["total"], found["done"], found["failed"]) == (True, count + 1, count, 1)
    assert found["done_before"] >= count // 2 - 2 * batch * in_flight
    classes = list(client.classes("killed"))
    assert len(classes) == count
    assert {each.id for each in classes} == wanted
    # Redone is at most what was in flight at each kill.
    assert sum(each.update_time > each.create_time for each in classes) <= 2 * batch * in_flight
    (error,) = (
        entry
        for entry in map(json.loads, (job / "report.jsonl").read_text().splitlines())
        if entry["level"] == "error"
    )
    assert (error["class_id"], error["reason"]) == ("bad", "IMAGE_UNSUPPORTED_FORMAT")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_job_says_how_to_go_on_and_goes_on(client: Client, tmp_path: Path, number: int) -> None:
    wanted = folder_of(tmp_path / "pictures", 40)
    gallery, source, job = f"interrupted-{number}", tmp_path / "list.csv", tmp_path / "job"
    with held_up(picture(39)) as silent:  # it takes the connection, and says nothing
        list_of(source, sorted(wanted), silent)
        process = start(source, gallery, job, client.address, "--batch-size", "1", stderr=subprocess.PIPE)
        wait_until_enrolled(client, gallery, 20, process)
        silent.wait_for_reader(process)
        process.send_signal(number)
        _, said = process.communicate(timeout=2)
        assert process.returncode == 130
        assert b"run the same command again to go on" in said
        assert b"Traceback" not in said
        assert not summary(job)["complete"]
        silent.release()
        command = ("index", source, "-g", gallery, "--address", client.address, "--job", job)
        assert exemplar(*command).returncode == 0
    assert {each.id for each in client.classes(gallery)} == wanted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("way", ["rehearsing", "embedding", "reading the manifest"])
def test_whatever_a_silent_server_keeps_waiting_an_interrupt_ends_it(
    tiny_bundle: Path, tmp_path: Path, number: int, way: str
) -> None:
    source = tmp_path / "list.csv"
    with held_up(picture(0)) as silent:
        source.write_text(f"id,image\na,{silent.url}\n")
        more = {
            "rehearsing": [str(source), "-g", "g", "--dry-run"],
            "embedding": [str(source), "--shards", str(tmp_path / "shards"), "--bundle", str(tiny_bundle)],
            "reading the manifest": [silent.url.replace("picture.png", "list.csv"), "-g", "g", "--dry-run"],
        }[way]
        process = subprocess.Popen([EXEMPLAR, "index", *more], env=clean_environment(), stderr=subprocess.PIPE)
        silent.wait_for_reader(process)
        process.send_signal(number)
        _, said = process.communicate(timeout=2)
    assert (process.returncode, b"interrupted" in said, b"Traceback" in said) == (130, True, False), said


def test_a_pipe_among_the_pictures_is_refused_unopened_and_the_job_goes_on(client: Client, tmp_path: Path) -> None:
    wanted = folder_of(tmp_path / "pictures", 3)
    os.mkfifo(tmp_path / "pictures" / "pipe.png")
    job = tmp_path / "job"
    process = start(tmp_path / "pictures", "piped", job, client.address)
    assert process.wait(timeout=60) == 1
    assert {each.id for each in client.classes("piped")} == wanted
    (entry,) = map(json.loads, (job / "report.jsonl").read_text().splitlines())
    assert (entry["class_id"], entry["reason"]) == ("pipe", "IMAGE_UNREADABLE")
    assert "it is a pipe, and no file" in entry["message"]


@pytest.mark.slow
def test_a_server_killed_under_a_job_is_waited_for(tiny_bundle: Path, tmp_path: Path) -> None:
    wanted = folder_of(tmp_path / "pictures", 400)
    with ServerProcess(tiny_bundle, tmp_path / "data") as first:
        address = first.address
        with Client(address) as client:
            process = start(tmp_path / "pictures", "waited", tmp_path / "job", address, "--batch-size", "1")
            wait_until_enrolled(client, "waited", 20, process)
        first.kill()
    with ServerProcess(tiny_bundle, tmp_path / "data", "--address", address) as second:
        assert second.address == address
        assert process.wait(timeout=120) == 0
        with Client(address) as client:
            assert {each.id for each in client.classes("waited")} == wanted
    assert summary(tmp_path / "job")["done"] == 400


def test_a_second_run_enrolls_only_what_is_new_or_changed(client: Client, tmp_path: Path) -> None:
    folder_of(tmp_path / "pictures", 20)
    command = ("index", tmp_path / "pictures", "-g", "second", "--create", "--address", client.address)
    job = ("--job", tmp_path / "job")
    assert exemplar(*command, *job).returncode == 0
    revision = client.get_gallery("second").revision
    slashed = [f"{word}/" if word == tmp_path / "pictures" else word for word in command]  # names the same folder
    assert exemplar(*slashed, *job).returncode == 0
    assert client.get_gallery("second").revision == revision
    (tmp_path / "pictures" / "c00003.png").write_bytes(picture(1003))
    (tmp_path / "pictures" / "new.png").write_bytes(picture(1004))
    assert exemplar(*command, *job).returncode == 0
    assert summary(tmp_path / "job")["done_before"] == 19
    (exemplar_now,) = client.get_class("second", "c00003").exemplars
    assert exemplar_now.sha256 == hashlib.sha256(picture(1003)).hexdigest()
    assert client.get_gallery("second").class_count == 21


def test_the_outcome_tells_what_the_job_did_and_not_what_the_gallery_holds(client: Client, tmp_path: Path) -> None:
    folder_of(tmp_path / "pictures", 2)
    command = ("index", tmp_path / "pictures", "-g", "gone", "--create", "--address", client.address)
    assert exemplar(*command, "--job", tmp_path / "job").returncode == 0
    client.delete_class("gone", "c00000")
    again = exemplar(*command, "--job", tmp_path / "job")
    assert "2 of 2 classes were enrolled in gone by this job (2 of them before this run)" in again.stdout
    assert "are in" not in again.stdout
    rehearsed = exemplar(*command, "--job", tmp_path / "job", "--dry-run")
    assert "2 were enrolled before" in rehearsed.stdout


def test_a_gallery_deleted_between_two_runs_is_filled_again(client: Client, tmp_path: Path) -> None:
    wanted = folder_of(tmp_path / "pictures", 5)
    command = ("index", tmp_path / "pictures", "-g", "anew", "--create", "--address", client.address)
    job = ("--job", tmp_path / "job")
    assert exemplar(*command, *job).returncode == 0
    client.delete_gallery("anew", force=True)
    assert exemplar(*command, *job).returncode == 0
    assert {each.id for each in client.classes("anew")} == wanted


def test_a_manifest_brings_names_and_attributes_and_its_faults_are_reported(client: Client, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture(1))
    (tmp_path / "b.png").write_bytes(picture(2))
    manifest = tmp_path / "list.csv"
    manifest.write_text(
        "id,image,display_name,color\na,a.png,Letter A,red\nb,b.png,,\na,b.png,,\nc,gone.png,,\n,a.png,,\n"
    )
    report = tmp_path / "report.csv"
    arguments = ("-g", "listed", "--create", "--job", tmp_path / "job", "--report", report)
    done = exemplar("index", manifest, *arguments, "--address", client.address)
    assert done.returncode == 1, done.stderr
    assert "2 of 5 classes were enrolled in listed by this job" in done.stdout
    stored = client.get_class("listed", "a")
    assert (stored.display_name, stored.attributes) == ("Letter A", {"color": "red"})
    with report.open(newline="") as file:
        errors = [row for row in csv.DictReader(file) if row["level"] == "error"]
    assert {(row["place"], row["reason"]) for row in errors} == {
        (f"{manifest}:4", "ID_DUPLICATE"),
        (f"{manifest}:5", "IMAGE_UNREADABLE"),
        (f"{manifest}:6", "ROW_INVALID"),
    }


def test_several_things_in_one_picture_become_classes_and_a_moved_region_is_enrolled_anew(
    client: Client, tmp_path: Path
) -> None:
    shelf = Image.new("L", (120, 40), 255)
    for number in range(3):
        shelf.paste(Image.open(io.BytesIO(picture(number))), (40 * number, 0))
    shelf.save(tmp_path / "shelf.png")
    manifest = tmp_path / "list.csv"

    def index(*rows: str) -> None:
        manifest.write_text("id,image,region\n" + "".join(f"{row}\n" for row in rows))
        command = ("index", manifest, "-g", "parts", "--create", "--job", tmp_path / "job")
        done = exemplar(*command, "--address", client.address)
        assert done.returncode == 0, done.stderr

    left, middle = 'left,shelf.png,"0,0,36,36"', 'mid\u3000dle,shelf.png,"40,0,36,36"'
    index(left, middle, 'right,shelf.png,"80,0,36,36"')
    for number, class_id in enumerate(["left", "mid\u3000dle", "right"]):
        nearest = client.classify("parts", picture(number)).matches[0]
        assert nearest.class_id == class_id
        assert nearest.distance == pytest.approx(0, abs=1e-3)
    before = {each.id: each.update_time for each in client.classes("parts")}
    index(left, middle, 'right,shelf.png,"80,0,40,40"')
    after = {each.id: each.update_time for each in client.classes("parts")}
    assert {class_id for class_id in after if after[class_id] != before[class_id]} == {"right"}
    assert client.get_class("parts", "right").exemplars[0].region == Region(80, 0, 40, 40)


def test_warnings_are_reported_and_strict_refuses_what_has_them(client: Client, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "good.png").write_bytes(picture(5))
    buffer = io.BytesIO()
    Image.new("L", (36, 36), 255).save(buffer, "PNG")
    (tmp_path / "pictures" / "blank.png").write_bytes(buffer.getvalue())

    def entry(job: Path, gallery: str, code: int, *more: str) -> dict[str, str]:
        command = ("index", tmp_path / "pictures", "-g", gallery, "--create", "--address", client.address)
        assert exemplar(*command, *more, "--job", job).returncode == code
        (line,) = (job / "report.jsonl").read_text().splitlines()
        return dict(json.loads(line))

    refused = entry(tmp_path / "strict", "strict", 1, "--strict")
    assert (refused["level"], refused["class_id"], refused["reason"]) == ("error", "blank", "EXEMPLAR_REFUSED")
    assert [each.id for each in client.classes("strict")] == ["good"]
    warned = entry(tmp_path / "lax", "lax", 0)
    assert (warned["level"], warned["class_id"], warned["reason"]) == ("warning", "blank", "BLANK")
    assert "use a picture with contrast" in warned["message"]
    assert [each.id for each in client.classes("lax")] == ["blank", "good"]
    # The journal remembers it: a run with nothing to do reports it again.
    assert entry(tmp_path / "lax", "lax", 0) == warned
    assert summary(tmp_path / "lax")["warnings"] == 1


def test_a_dry_run_tells_what_would_happen_and_changes_nothing(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder_of(tmp_path / "pictures", 6)
    (tmp_path / "pictures" / "bad.png").write_bytes(b"no image")
    (tmp_path / "pictures" / "empty.png").write_bytes(b"")
    Image.open(io.BytesIO(picture(6))).save(tmp_path / "pictures" / "big.tif", big_tiff=True)
    # No server is asked, so none need be there.
    done = exemplar("index", "pictures", "-g", "dry", "--dry-run", "--address", "127.0.0.1:1")
    assert done.returncode == 1
    assert "Would enroll 7 of 9 classes in dry; 0 were enrolled before." in done.stdout
    assert "bad.png is not an image of a known format" in done.stdout
    assert "empty.png is empty" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pictures"]
    for name in ("bad.png", "empty.png"):
        (tmp_path / "pictures" / name).unlink()
    command = ("index", "pictures", "-g", "dry", "--address", client.address)
    assert exemplar(*command, "--create").returncode == 0
    (tmp_path / "pictures" / "new.png").write_bytes(picture(77))
    journal = tmp_path / "exemplar-index-dry-pictures" / "journal.sqlite"
    before = journal.read_bytes()
    again = exemplar(*command, "--dry-run", "--json")
    assert (json.loads(again.stdout)["pending"], json.loads(again.stdout)["done"]) == (1, 7)
    assert journal.read_bytes() == before
    assert client.get_gallery("dry").class_count == 7


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("index", "nowhere", "-g", "x"), 2, "exemplar: there is no folder or manifest at nowhere"),
        (("index", ".", "-g", "no-such-gallery"), 1, "--create creates the gallery"),
        (
            ("index", ".", "-g", "x", "--create", "--address", "127.0.0.1:1"),
            3,
            "exemplar: no server answers at 127.0.0.1:1",
        ),
        (("index", "."), 2, "--gallery"),
    ],
)
def test_what_stops_a_job_is_one_sentence(
    client: Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    where = () if "--address" in arguments else ("--address", client.address)
    done = exemplar(*arguments, *where)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)
    assert words in done.stderr
