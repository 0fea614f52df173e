"""What the tests share: a data set drawn on the spot, and a real bundle trained on it in seconds."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from demo.strokes import draw_alphabets
from exemplar_encoder import Bundle
from exemplar_encoder.bundle import seal


@pytest.fixture(scope="session")
def drawn_alphabets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six alphabets of eight characters by six drawers: `<Alphabet>/<character>/<id>_<drawer>.png`."""
    root = tmp_path_factory.mktemp("drawn")
    draw_alphabets(root, alphabets=6, characters=8, drawers=6)
    return root


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, drawn_alphabets: Path) -> Path:
    """The folder of a finished training run of the real command."""
    run = tmp_path_factory.mktemp("tiny") / "run"
    command = [str(Path(sys.executable).with_name("exemplar")), "train", str(drawn_alphabets), "--run", str(run)]
    subprocess.run(
        [*command, "--name", "tiny", "--steps", "60", "--size", "32"],
        check=True,
        env={**os.environ, "COLUMNS": "120"},
        timeout=280,
    )
    return run


@pytest.fixture(scope="session")
def tiny_bundle(tiny_run: Path) -> Path:
    """A real bundle, small and quickly trained."""
    return tiny_run / "bundle"


@pytest.fixture(scope="session")
def other_bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network under another name, and so another model with another id."""
    folder = tmp_path_factory.mktemp("other") / "bundle"
    shutil.copytree(tiny_bundle, folder)
    seal(folder, dataclasses.replace(Bundle.load(tiny_bundle).manifest, name="other"))
    return folder
