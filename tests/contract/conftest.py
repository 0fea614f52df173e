"""A store of each kind, with an empty gallery `g`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

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


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def open_store(request: pytest.FixtureRequest) -> Callable[[Path], GalleryStore]:
    return IMPLEMENTATIONS[request.param]


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
