"""`exemplar models fetch`: what is listed, what ends up in the folder, and what to do where nothing comes."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from exemplar.published_models import PUBLISHED
from tests.client.command import run
from tests.client.file_server import FileServer, file_server

NETWORK = random.Random(1).randbytes(100_000)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server(NETWORK) as served:
        yield served


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish a model that is quick to fetch."""
    model = replace(
        PUBLISHED["dinov2-small"],
        name="small",
        size=len(NETWORK),
        sha256=hashlib.sha256(NETWORK).hexdigest(),
    )
    monkeypatch.setitem(PUBLISHED, "small", model)


def test_every_model_is_pinned_to_a_commit_and_a_file_and_says_its_license() -> None:
    for name, model in PUBLISHED.items():
        assert name == model.name
        assert re.fullmatch("[0-9a-f]{40}", model.revision)
        assert re.fullmatch("[0-9a-f]{64}", model.sha256)
        assert model.license in ("Apache-2.0", "MIT")


def test_without_a_name_the_models_are_listed_with_their_size_and_license() -> None:
    shown = run("models", "fetch").stdout
    assert re.search(r"dinov2-small .* 224 x 224 +88 MB +Apache-2\.0", shown)
    listed = json.loads(run("models", "fetch", "--json", HF_ENDPOINT="").stdout)["models"]
    assert [each["name"] for each in listed] == list(PUBLISHED)
    assert listed[0]["url"].startswith("https://huggingface.co/Xenova/dinov2-small/resolve/c2bb04a")


def test_a_folder_holds_the_network_its_preprocessing_and_where_it_is_from(
    server: FileServer, tmp_path: Path
) -> None:
    done = run("models", "fetch", "small", "-o", tmp_path / "some" / "folder", HF_ENDPOINT=server.address)
    assert done.returncode == 0, done.stderr
    assert "small, under Apache-2.0" in done.stdout
    folder = tmp_path / "some" / "folder"
    assert f"exemplar export PICTURES --model {folder}" in done.stdout
    assert (folder / "model.onnx").read_bytes() == NETWORK
    assert json.loads((folder / "preprocessor_config.json").read_text())["size"] == {"shortest_edge": 256}
    assert hashlib.sha256(NETWORK).hexdigest() in (folder / "ORIGIN.txt").read_text()
    assert len(list(folder.iterdir())) == 3


def test_a_model_that_is_there_is_verified_and_not_fetched_again(server: FileServer, tmp_path: Path) -> None:
    words = ("models", "fetch", "small", "-o", tmp_path, "--json")
    first = run(*words, HF_ENDPOINT=server.address)
    again = run(*words, HF_ENDPOINT=server.address)
    assert json.loads(first.stdout) == json.loads(again.stdout)
    assert len(server.asked) == 1


def test_without_a_way_out_the_command_says_which_file_to_put_where_and_takes_it(tmp_path: Path) -> None:
    with file_server(b"") as gone:
        nowhere = gone.address
    words = ("models", "fetch", "small", "-o", tmp_path / "here")
    done = run(*words, HF_ENDPOINT=nowhere)
    assert done.returncode == 1
    assert done.stderr.startswith(f"exemplar: {nowhere}/Xenova/dinov2-small/resolve/c2bb04a")
    network = tmp_path / "here" / "model.onnx"
    assert f"put it at {network}, and give the command again" in done.stderr
    network.write_bytes(NETWORK)
    done = run(*words, HF_ENDPOINT=nowhere)
    assert done.returncode == 0
    assert (tmp_path / "here" / "preprocessor_config.json").exists()


def test_another_file_in_its_place_is_left_alone_and_named(server: FileServer, tmp_path: Path) -> None:
    network = tmp_path / "model.onnx"
    network.write_bytes(b"of the user's own")
    done = run("models", "fetch", "small", "-o", tmp_path, HF_ENDPOINT=server.address)
    assert done.returncode == 1
    assert f"exemplar: {network} is not small: its SHA-256 is" in done.stderr
    assert network.read_bytes() == b"of the user's own"
    assert not server.asked


def test_a_download_that_was_cut_goes_on_when_the_command_is_given_again(server: FileServer, tmp_path: Path) -> None:
    server.cuts = [5000, 0]
    words = ("models", "fetch", "small", "-o", tmp_path)
    done = run(*words, HF_ENDPOINT=server.address)
    assert done.returncode == 1
    assert "cut after 5,000 of 100,000 bytes; give the command again to go on from there, or fetch" in done.stderr
    assert run(*words, HF_ENDPOINT=server.address).returncode == 0
    assert server.asked[-1] == "bytes=5000-"


def test_what_cannot_be_meant_is_one_sentence(server: FileServer, tmp_path: Path) -> None:
    done = run("models", "fetch", "vgg")
    assert done.returncode == 2
    assert "there is no published model 'vgg' here; there are dinov2-small, " in done.stderr
    assert run("models", "fetch", "-o", tmp_path).returncode == 2
    (tmp_path / "taken").write_bytes(b"")
    done = run("models", "fetch", "small", "-o", tmp_path / "taken", HF_ENDPOINT=server.address)
    assert done.returncode == 1
    assert done.stderr == f"exemplar: {tmp_path / 'taken'} cannot be written: File exists\n"
