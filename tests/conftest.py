"""Fixtures that all tests share: drawings made on the spot, and the bundle in tests/bundles."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from demo.strokes import draw_alphabets
from exemplar_encoder import Bundle
from exemplar_encoder.bundle import seal

BUNDLES = Path(__file__).parent / "bundles"


@pytest.fixture(scope="session")
def drawn_alphabets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six alphabets of eight characters by six drawers: `<Alphabet>/<character>/<id>_<drawer>.png`."""
    root = tmp_path_factory.mktemp("drawn")
    draw_alphabets(root, alphabets=6, characters=8, drawers=6)
    return root


@pytest.fixture(scope="session")
def tiny_bundle() -> Path:
    """A real bundle of a few kilobytes; of `drawn_alphabets` it has not seen Alphabet00 and Alphabet05."""
    return BUNDLES / "tiny"


@pytest.fixture(scope="session")
def other_bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network under another name, and so another model with another id."""
    folder = tmp_path_factory.mktemp("other") / "bundle"
    shutil.copytree(tiny_bundle, folder)
    seal(folder, dataclasses.replace(Bundle.load(tiny_bundle).manifest, name="other"))
    return folder
