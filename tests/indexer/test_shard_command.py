"""`exemplar index --shards`: what it prints, how it ends, and what it will not have together."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.command import run as exemplar
from tests.indexer.test_embedding_job import pictures


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return pictures(tmp_path / "pictures", 5)


def test_shards_are_written_and_the_next_run_finds_them(source: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    command = ("index", f"{source}/", "--shards", tmp_path / "shards", "--bundle", tiny_bundle, "--shard-size", 2)
    done = exemplar(*command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("5 of 5 classes are in ")
    again = exemplar(*command, "--json")
    summary = json.loads(again.stdout)
    assert (again.returncode, summary["shards_before"], summary["shard_count"]) == (0, 3, 3)
    assert summary == json.loads((tmp_path / "shards" / "summary.json").read_text())


def test_a_failed_image_makes_the_exit_code_1_and_the_report_may_be_elsewhere(
    source: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    (source / "bad.png").write_bytes(b"no image")
    report = tmp_path / "faults.csv"
    done = exemplar("index", source, "--shards", tmp_path / "s", "--bundle", tiny_bundle, "--report", report)
    assert (done.returncode, f"1 failed: see {report}" in done.stdout.replace("\n", "")) == (1, True)
    assert "IMAGE_UNSUPPORTED_FORMAT" in report.read_text()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "give --gallery to enroll in one, or --shards to write shards"),
        (["--gallery", "g", "--engine", "ray"], "--engine is for shards"),
        (["--gallery", "g", "--image-urls"], "--image-urls is for shards"),
        (["--shards", "s"], "needs the bundle"),
        (["--shards", "s", "--bundle", "b", "--gallery", "g"], "--gallery goes to a server"),
        (["--shards", "s", "--bundle", "b", "--dry-run"], "--dry-run goes to a server"),
        (["--shards", "s", "--bundle", "b", "--address", "h:1"], "--address goes to a server"),
        (["--shards", "s", "--bundle", "b", "--workers", "2"], "--workers are Ray's"),
        (["--shards", "s", "--bundle", "b"], "b is not a bundle"),
        (["--shards", "nosuch://s", "--bundle", "b"], "nosuch://s cannot be used"),
    ],
)
def test_what_makes_no_sense_together_is_refused_with_a_sentence(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = exemplar("index", source, *words)
    assert (done.returncode, sentence in " ".join(done.stderr.split())) == (2, True), done.stderr
    assert not (tmp_path / "s").exists()


@pytest.mark.process
@pytest.mark.parametrize(
    ("words", "missing", "extra"),
    [
        (["--shards", "s", "--bundle", "b"], "pyarrow", "shards"),
        (["--shards", "s", "--bundle", "tests/bundles/tiny", "--engine", "ray"], "ray", "ray"),
        (["--gallery", "g", "--dry-run"], "", ""),
    ],
)
def test_shards_and_ray_need_extras_that_enrolling_does_not(
    source: Path, tmp_path: Path, words: list[str], missing: str, extra: str
) -> None:
    words = ["index", str(source), *(str(tmp_path / "s") if word == "s" else word for word in words)]
    absent = [missing] if missing else ["pyarrow", "ray", "ai_edge_litert", "numpy", "fsspec"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent!r})); sys.argv = ['exemplar', *{words!r}]\n"
        "from exemplar.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    if missing:
        assert (done.returncode, f"pip install 'exemplar[{extra}]'" in done.stderr) == (2, True), done.stderr
    else:
        assert done.returncode == 0, done.stderr
