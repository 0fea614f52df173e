"""A recipe trains on another Keras backend unchanged; TensorFlow, for the bundle alone, may be elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from exemplar_encoder import Bundle

CHOICES = ("--steps", "60", "--size", "32", "--name", "elsewhere")
TRAIN = "from exemplar_trainer.cli.train import main; main()"
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


def train(program: str, *arguments: str | Path, backend: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": backend, "COLUMNS": "120"},
        timeout=280,
    )


@pytest.fixture(scope="module")
def trained_without_tensorflow(
    drawn_alphabets: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    run = tmp_path_factory.mktemp("elsewhere") / "run"
    return run, train(WITHOUT_TENSORFLOW, drawn_alphabets, "--run", run, *CHOICES, backend="jax")


def test_jax_trains_where_there_is_no_tensorflow_and_says_how_to_get_the_bundle(
    trained_without_tensorflow: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    run, done = trained_without_tensorflow
    assert done.returncode == 1
    assert "the network is trained, but TensorFlow" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    records = [json.loads(line) for line in (run / "training.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [20, 40, 60]
    assert records[-1]["loss"] < records[0]["loss"]
    assert not (run / "bundle").exists()


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_such_a_run_becomes_a_bundle_where_tensorflow_is_and_the_data_has_moved(
    trained_without_tensorflow: tuple[Path, subprocess.CompletedProcess[str]],
    drawn_alphabets: Path,
    tmp_path: Path,
    backend: str,
) -> None:
    run, data = tmp_path / "run", tmp_path / "moved"
    shutil.copytree(trained_without_tensorflow[0], run)
    shutil.copytree(drawn_alphabets, data)
    # Nothing is left where the data was when the run began.
    description = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**description, "data": str(tmp_path / "gone")}))
    done = train(TRAIN, "--resume", data, "--run", run, backend=backend)
    assert done.returncode == 0, done.stderr
    # What is loaded was replayed on both engines within their tolerance, whichever backend computed it.
    accuracy = {figure.name: figure.value for figure in Bundle.load(run / "bundle").manifest.figures}
    assert accuracy["within-group 5-way 1-shot accuracy"] > 0.6
    assert json.loads((run / "run.json").read_text())["data"] == str(data)


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
def test_a_backend_that_is_not_there_is_named(
    drawn_alphabets: Path, tmp_path: Path, backend: str, words: str
) -> None:
    done = train(TRAIN, drawn_alphabets, "--run", tmp_path / "run", *CHOICES, backend=backend)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.replace("│", " ").split())


def test_the_average_of_the_weights_is_the_same_on_jax() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit/test_averaging.py"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "jax"},
        timeout=280,
    )
    assert done.returncode == 0, done.stdout
