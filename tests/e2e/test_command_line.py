"""The command line against the real server: what people see, and what programs get."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from demo.server_process import ServerProcess
from tests.client.command import run


@pytest.fixture(scope="module")
def address(server: ServerProcess) -> str:
    return server.address


@pytest.fixture(scope="module")
def letters(drawn_alphabets: Path) -> list[Path]:
    """Return the folders of one alphabet's characters."""
    return sorted(sorted(drawn_alphabets.iterdir())[1].iterdir())


def document(*arguments: object) -> Any:
    done = run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_class_is_taught_shown_found_and_forgotten(address: str, letters: list[Path], tmp_path: Path) -> None:
    at = ("--address", address)
    first, second = (sorted(folder.iterdir())[0] for folder in letters[:2])
    taught = run("enroll", "cli", "one", first, "--create", "--display-name", "One", "--attribute", "n=1", *at)
    assert taught.returncode == 0, taught.stderr
    assert taught.stdout.startswith("Created gallery cli.\nEnrolled one (One) in cli, now at revision")
    assert run("enroll", "cli", "two", second, "--create", *at).returncode == 0
    assert "Replaced two in cli" in run("enroll", "cli", "two", second, *at).stdout

    shown = run("classify", "cli", first, second, *at)
    assert shown.returncode == 0
    rows = [line.split() for line in shown.stdout.splitlines() if line.strip().startswith(str(first.parent.parent))]
    assert [row[2] for row in rows] == ["one", "two"]
    assert "Threshold" in shown.stdout

    results = document("classify", "cli", first, *at)["results"]
    assert results[0]["image"] == str(first)
    assert results[0]["matches"][0]["attributes"] == {"n": "1"}
    assert results[0]["matches"][0]["distance"] == pytest.approx(0, abs=1e-3)

    assert [each["id"] for each in document("classes", "list", "cli", *at)["classes"]] == ["one", "two"]
    assert "n=1" in run("classes", "show", "cli", "one", *at).stdout
    renamed = document("classes", "update", "cli", "one", "--display-name", "Uno", *at)
    assert (renamed["display_name"], renamed["attributes"]) == ("Uno", {"n": "1"})
    fetched = tmp_path / "one.png"
    assert run("classes", "image", "cli", "one", "-o", fetched, *at).returncode == 0
    assert fetched.read_bytes() == first.read_bytes()
    assert document("classes", "delete", "cli", "one", "--yes", *at)["deleted"] == "one"
    assert run("classes", "show", "cli", "one", *at).returncode == 1
    assert run("classes", "delete", "cli", "one", "--yes", *at).returncode == 1
    assert run("classes", "delete", "cli", "one", "--yes", "--missing-ok", *at).returncode == 0


def test_a_class_takes_more_pictures_and_gives_them_up(address: str, letters: list[Path], tmp_path: Path) -> None:
    at = ("--address", address)
    first, second, third = sorted(letters[0].iterdir())[:3]
    assert run("galleries", "create", "more", "--max-exemplars", 3, *at).returncode == 0
    assert run("enroll", "more", "one", first, *at).returncode == 0
    said = run("exemplars", "add", "more", "one", second, *at).stdout
    assert said.startswith("one in more has 2 exemplars, now at revision 3.\n")
    added = document("exemplars", "add", "more", "one", third, *at)
    digests = [each["sha256"] for each in added["image_class"]["exemplars"]]
    assert (len(digests), added["gallery_revision"]) == (3, 4)
    full = run("exemplars", "add", "more", "one", *sorted(letters[1].iterdir())[:1], *at)
    assert (full.returncode, "max_exemplars_per_class" in full.stderr) == (1, True)
    assert digests[1] in run("classes", "show", "more", "one", *at).stdout
    fetched = tmp_path / "one.png"
    unclear = run("classes", "image", "more", "one", "-o", fetched, *at)
    assert (unclear.returncode, digests[2] in unclear.stderr) == (2, True)
    assert document("classes", "image", "more", "one", digests[1], "-o", fetched, *at)["sha256"] == digests[1]
    assert fetched.read_bytes() == second.read_bytes()
    removed = document("exemplars", "remove", "more", "one", digests[1], "--yes", *at)
    assert [each["sha256"] for each in removed["image_class"]["exemplars"]] == [digests[0], digests[2]]
    assert run("exemplars", "remove", "more", "one", digests[0], *at).returncode == 1  # nobody said yes
    assert "has 1 exemplar, now" in run("exemplars", "remove", "more", "one", digests[0], "-y", *at).stdout
    last = run("exemplars", "remove", "more", "one", digests[2], "-y", *at)
    assert (last.returncode, "delete the class instead" in last.stderr) == (1, True)


def test_galleries_are_listed_changed_and_deleted(address: str) -> None:
    at = ("--address", address)
    assert run("galleries", "create", "kept", "--false-accept-rate", 0.02, *at).returncode == 0
    again = run("galleries", "create", "kept", *at)
    assert (again.returncode, "kept" in again.stderr, "Traceback" in again.stderr) == (1, True, False)
    assert document("galleries", "show", "kept", *at)["false_accept_rate"] == 0.02
    assert "2.0 %" in run("galleries", "show", "kept", *at).stdout
    reset = document("galleries", "update", "kept", "--false-accept-rate", "default", "--display-name", "K", *at)
    assert (reset["false_accept_rate"], reset["display_name"]) == (None, "K")
    assert run("galleries", "update", "kept", "--false-accept-rate", "much", *at).returncode == 2
    stale = run("galleries", "update", "kept", "--display-name", "L", "--etag", "stale", *at)
    assert (stale.returncode, "Traceback" in stale.stderr) == (1, False)
    fresh = ("--display-name", "L", "--etag", reset["etag"])
    assert document("galleries", "update", "kept", *fresh, *at)["display_name"] == "L"
    assert "kept" in [each["id"] for each in document("galleries", "list", *at)["galleries"]]
    assert "kept" in run("galleries", "list", *at).stdout
    assert run("galleries", "delete", "kept", "--yes", *at).returncode == 0
    assert run("galleries", "delete", "kept", "--yes", "--missing-ok", *at).returncode == 0


def test_a_part_of_a_picture_is_enrolled_shown_and_found(address: str, letters: list[Path]) -> None:
    at = ("--address", address)
    whole, region = sorted(letters[0].iterdir())[0], ("--region", "0%,0%,50%,100%")
    assert run("enroll", "regions", "half", whole, *region, "--create", *at).returncode == 0
    assert "0%,0%,50%,100%" in run("classes", "show", "regions", "half", *at).stdout
    found = document("classify", "regions", whole, *region, "--region", "50%,0%,50%,100%", *at)["results"]
    assert [each["region"]["left"] for each in found] == [0, 0.5]
    assert found[0]["matches"][0]["distance"] == pytest.approx(0, abs=1e-3)
    assert found[1]["matches"][0]["distance"] > found[0]["matches"][0]["distance"]
    beyond = run("check", whole, "--region", "0,0,100000,1", *at)
    assert (beyond.returncode, "beyond the image" in beyond.stderr) == (1, True)
    assert beyond.stderr.startswith(f"exemplar: {whole} 0,0,100000,1: the region ")


def test_an_image_that_is_none_is_an_error_in_its_row(address: str, letters: list[Path], tmp_path: Path) -> None:
    at = ("--address", address)
    good = sorted(letters[0].iterdir())[0]
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    run("enroll", "rows", "c", good, "--create", *at)
    done = run("classify", "rows", good, bad, "--json", *at)
    assert done.returncode == 1
    first, second = json.loads(done.stdout)["results"]
    assert first["matches"][0]["class_id"] == "c"
    assert second["error"]["reason"] == "IMAGE_UNSUPPORTED_FORMAT"
    table = run("classify", "rows", good, bad, *at)
    assert (table.returncode, "ERROR" in table.stdout) == (1, True)
    refusal = f"exemplar: {bad}: the bytes are not an image"
    assert table.stderr.startswith(refusal)
    assert run("enroll", "rows", "c", bad, *at).stderr.startswith(refusal)


def test_check_diagnose_and_models_tell_what_they_know(address: str, letters: list[Path]) -> None:
    at = ("--address", address)
    image = sorted(letters[0].iterdir())[0]
    for class_id in ("a", "b"):
        run("enroll", "twins-cli", class_id, image, "--create", *at)
    assert "DUPLICATE" in run("check", image, "--gallery", "twins-cli", *at).stdout
    assert document("check", image, *at)["exemplar"]["format"] == "PNG"
    assert "too close" in run("diagnose", "twins-cli", *at).stdout
    assert document("diagnose", "twins-cli", *at)["too_close_count"] == 1
    (model,) = document("models", *at)["models"]
    assert model["id"][:12] in run("models", *at).stdout
    shown = run("models", model["id"][:12], *at).stdout
    assert "calibrated on" in shown
    assert model["id"] in shown
    assert document("models", model["id"], *at) == model
