"""Shared by the tests: drawings made on the spot, and the bundle in tests/bundles."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.strokes import draw_alphabets
from exemplar_encoder import Bundle
from exemplar_encoder.bundle import seal
from tests.onnx_bundles import make_onnx_bundle
from tests.postgres_server import OTHER_SERVER, PostgresServer, with_schema

BUNDLES = Path(__file__).parent / "bundles"


@pytest.fixture(scope="session")
def drawn_alphabets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return six alphabets of eight characters by six drawers: `<Alphabet>/<character>/<id>_<drawer>.png`."""
    root = tmp_path_factory.mktemp("drawn")
    draw_alphabets(root, alphabets=6, characters=8, drawers=6)
    return root


@pytest.fixture(scope="session")
def tiny_bundle() -> Path:
    """Return a real bundle of a few kilobytes; of `drawn_alphabets` it has not seen Alphabet00 and Alphabet05."""
    return BUNDLES / "tiny"


@pytest.fixture(scope="session")
def other_bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the same network under another name, and so another model with another id."""
    folder = tmp_path_factory.mktemp("other") / "bundle"
    shutil.copytree(tiny_bundle, folder)
    seal(folder, dataclasses.replace(Bundle.load(tiny_bundle).manifest, name="other"))
    return folder


@pytest.fixture(scope="session")
def onnx_bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a real bundle for ONNX Runtime alone, that reads images as the tiny one does."""
    return make_onnx_bundle(tiny_bundle, tmp_path_factory.mktemp("onnx") / "bundle")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Return the URL of a database on a real PostgreSQL server."""
    if url := os.environ.get(OTHER_SERVER):
        yield url
    else:
        with PostgresServer() as server:
            yield server.url


@pytest.fixture
def postgres_url(postgres: str) -> str:
    """Return the URL of a schema without tables in that database."""
    return with_schema(postgres)
