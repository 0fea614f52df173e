"""A store of each kind, with an empty gallery `g`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exemplar_server.store import (
    GalleryChanges,
    GalleryStore,
)
from exemplar_server.store.index.gpu_device import Gpu
from exemplar_server.store.index.kinds import ExactKind, GpuKind, IndexKind
from exemplar_server.store.indexed_store import IndexedStore
from exemplar_server.store.truth.database import Database
from exemplar_server.store.truth.postgresql import PostgresDatabase
from exemplar_server.store.truth.sqlite import SqliteDatabase
from tests.contract.stores import DIMENSION, MODEL, new_class
from tests.postgres_server import with_schema
from tests.server.store.index.gpu_stand_in import StandInDevice
from tests.server.store.index.makers import unexpected_fallback

INDEXES: dict[str, Callable[[pytest.FixtureRequest], IndexKind]] = {
    "flat": lambda request: ExactKind(),
    "gpu-stand-in": lambda request: GpuKind(Gpu(StandInDevice()), unexpected_fallback),
}
DATABASES: dict[str, Callable[[pytest.FixtureRequest, Path], Database]] = {
    "sqlite": lambda request, folder: SqliteDatabase(folder),
    "postgresql": lambda request, folder: PostgresDatabase(schema_of(request.getfixturevalue("postgres"), folder)),
}


def schema_of(database: str, folder: Path) -> str:
    """Return the URL of the schema that stands for a folder."""
    return with_schema(database, f"test_{hashlib.sha256(bytes(folder)).hexdigest()[:16]}")


@pytest.fixture(
    params=[(database, index) for database in DATABASES for index in INDEXES], ids=lambda pair: "-".join(pair)
)
def open_store(request: pytest.FixtureRequest) -> Callable[[Path], GalleryStore]:
    database, index = request.param
    return lambda folder: IndexedStore(
        DATABASES[database](request, folder), INDEXES[index](request), folder / "indexes"
    )


@pytest.fixture
def store(open_store: Callable[[Path], GalleryStore], tmp_path: Path) -> Iterator[GalleryStore]:
    opened = open_store(tmp_path / "data")
    opened.create_gallery("g", MODEL, DIMENSION)
    yield opened
    opened.close()


@pytest.fixture
def roomy(store: GalleryStore) -> GalleryStore:
    """Return a store whose gallery allows four exemplars a class, and holds `a` of two and `b` of one."""
    changes = GalleryChanges(frozenset({"max_exemplars_per_class"}), max_exemplars_per_class=4)
    store.update_gallery("g", changes)
    store.put_classes("g", [new_class("a", 1, 2, display_name="A", attributes={"k": "v"}), new_class("b", 9)])
    return store
