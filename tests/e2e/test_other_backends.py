"""A recipe trains on another Keras backend unchanged; TensorFlow, for the bundle alone, may be elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from exemplar_encoder import Bundle, load_encoder
from tests.e2e.training_command import train

QUICK = ("--recipe", "seed", "--loss", "nca-cosface", "--size", "20", "--steps", "4", "--name", "elsewhere")
TRAIN = "from exemplar_trainer.cli.train import app; app()"
WITHOUT_TENSORFLOW = f"""
import sys
from importlib.machinery import PathFinder

class Hiding(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] == "tensorflow" else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Hiding
{TRAIN}
"""


def train_on(backend: str, program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": backend, "COLUMNS": "120"},
        timeout=280,
    )


@dataclass(frozen=True)
class Elsewhere:
    """A run that JAX trained without TensorFlow, and then finished with it, its data in another place by then."""

    before: Path
    trained: subprocess.CompletedProcess[str]
    after: Path
    finished: subprocess.CompletedProcess[str]
    data: Path


@pytest.fixture(scope="module")
def elsewhere(drawn_alphabets: Path, tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    root = tmp_path_factory.mktemp("elsewhere")
    data, moved = shutil.copytree(drawn_alphabets, root / "data"), root / "moved"
    trained = train_on("jax", WITHOUT_TENSORFLOW, data, "--run", root / "run", *QUICK)
    after = shutil.copytree(root / "run", root / "after")
    data.rename(moved)
    finished = train_on("jax", TRAIN, "--resume", moved, "--run", after)
    return Elsewhere(root / "run", trained, after, finished, moved)


@pytest.mark.slow
@pytest.mark.process
def test_jax_trains_where_there_is_no_tensorflow_and_says_how_to_get_the_bundle(elsewhere: Elsewhere) -> None:
    assert elsewhere.trained.returncode == 1
    assert "exemplar: the network is trained, but TensorFlow" in " ".join(elsewhere.trained.stderr.split())
    assert "Traceback" not in elsewhere.trained.stderr
    records = [json.loads(line) for line in (elsewhere.before / "training.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [4]
    assert not (elsewhere.before / "bundle").exists()


@pytest.mark.slow
@pytest.mark.process
def test_such_a_run_becomes_a_bundle_where_tensorflow_is_and_the_data_has_moved(elsewhere: Elsewhere) -> None:
    assert elsewhere.finished.returncode == 0, elsewhere.finished.stderr
    assert json.loads((elsewhere.after / "run.json").read_text())["data"] == str(elsewhere.data)
    # Loading replays the golden samples, whose embeddings JAX computed, within the tolerance of both engines.
    assert load_encoder(elsewhere.after / "bundle", threads=1).bundle.manifest.name == "elsewhere"


@pytest.mark.slow
def test_tensorflow_finishes_it_with_the_same_network(elsewhere: Elsewhere, tmp_path: Path) -> None:
    run = shutil.copytree(elsewhere.before, tmp_path / "run")
    done = train("--resume", elsewhere.data, "--run", run)
    assert done.exit_code == 0, done.stderr
    ours, theirs = (Bundle.load(folder / "bundle").golden()[1] for folder in (run, elsewhere.after))
    assert ours == pytest.approx(theirs, abs=1e-3)


@pytest.mark.process
@pytest.mark.parametrize(
    ("backend", "words"),
    [
        ("theano", "KERAS_BACKEND is 'theano'; Keras has tensorflow, jax, torch"),
        pytest.param(
            "torch",
            "KERAS_BACKEND is torch, which is not installed: pip install torch",
            marks=pytest.mark.skipif(find_spec("torch") is not None, reason="PyTorch is installed"),
        ),
    ],
)
def test_a_backend_that_is_not_there_is_named(tmp_path: Path, backend: str, words: str) -> None:
    done = train_on(backend, TRAIN, tmp_path, "--run", tmp_path / "run")
    assert done.returncode == 2
    assert words in " ".join(done.stderr.replace("│", " ").split())
