"""A store of each kind, with an empty gallery `g`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exemplar_server import store as stores
from exemplar_server.store import (
    GalleryChanges,
    GalleryStore,
)
from tests.contract.stores import (
    DIMENSION,
    IMPLEMENTATIONS,
    MODEL,
    new_class,
)
from tests.postgres_server import with_schema

POSTGRESQL = "postgresql, flat"


@pytest.fixture(params=[*sorted(IMPLEMENTATIONS), POSTGRESQL])
def open_store(request: pytest.FixtureRequest) -> Callable[[Path], GalleryStore]:
    if request.param != POSTGRESQL:
        return IMPLEMENTATIONS[request.param]
    database = request.getfixturevalue("postgres")

    def in_schema(path: Path) -> GalleryStore:
        """Open the schema that stands for a folder."""
        name = f"test_{hashlib.sha256(bytes(path)).hexdigest()[:16]}"
        return stores.open_store(with_schema(database, name), "flat")

    return in_schema


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
