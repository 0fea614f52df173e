"""A store with a flipped bit in a file, a file cut short or pieces exchanged is refused or right: never wrong."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exemplar_server.errors import NotFoundError, ServiceError, StartError
from exemplar_server.store import GalleryStore, NewClass, open_store
from exemplar_server.store.indexed_store import IndexedStore
from exemplar_server.store.truth.sqlite import SqliteDatabase
from tests.contract.conftest import AlwaysApproximate
from tests.contract.stores import MODEL, exemplar, vector
from tests.durability.damage import damaged
from tests.durability.history import DATA
from tests.durability.scale import SCALE

REFUSED = object()
GALLERIES = ("a", "b")
CLASSES = 8


def told(call: Callable[[], Any]) -> Any:
    """Return what is answered, or `REFUSED`; that nothing is there is no refusal, but wrong."""
    try:
        return call()
    except NotFoundError:
        raise
    except ServiceError:
        return REFUSED


def class_of(gallery: str, number: int) -> tuple[str, str, bytes, Any]:
    """Return id, name, image and vector of a class; small ones, so that most bits mean something else."""
    seed = number + 100 * (gallery == "b")
    return f"c{number}", f"name {number}", f"image {gallery} {number}".encode() * (1 + number), vector(seed)


def fill(store: GalleryStore) -> None:
    for gallery in GALLERIES:
        store.create_gallery(gallery, MODEL, 8, display_name=f"gallery {gallery}")
        for number in range(CLASSES):
            class_id, name, image, embedding = class_of(gallery, number)
            store.put_classes(gallery, [NewClass(class_id, [exemplar(embedding, image)], name, {"n": str(number)})])


def wrong(store: GalleryStore) -> list[str]:
    """Read all that was stored, and return what is answered other than it was, without any damage being told of."""
    known = store.damage()
    nameless = bool(set(known) - set(GALLERIES))  # a gallery's own name is damaged
    found: list[str] = []
    listed = told(lambda: {gallery.id: gallery.class_count for gallery in store.list_galleries()})
    for gallery in GALLERIES:
        if gallery in known or (nameless and gallery not in listed):
            continue
        found += _wrong_in(store, gallery)
        if listed is not REFUSED and listed.get(gallery) != CLASSES:
            found.append(f"galleries {listed}")
    return found


def _wrong_in(store: GalleryStore, gallery: str) -> list[str]:
    found: list[str] = []
    there = told(lambda: store.get_gallery(gallery))
    if there is not REFUSED and (there.display_name, there.class_count) != (f"gallery {gallery}", CLASSES):
        found.append(f"gallery {gallery}: {there}")
    records = told(lambda: store.list_classes(gallery))
    if records is not REFUSED:
        found += [f"listed {each}" for each in records if not each.damaged and not _right(store, gallery, each)]
        if len(records) != CLASSES:
            found.append(f"{len(records)} classes of {gallery} are listed")
    for number in range(CLASSES):
        class_id, name, _, embedding = class_of(gallery, number)
        record = told(partial(store.get_class, gallery, class_id))
        if record is not REFUSED and (record.id != class_id or not _right(store, gallery, record)):
            found.append(f"class {class_id} of {gallery}: {record}")
        nearest = told(partial(store.search, gallery, embedding[None], 2))
        if nearest is not REFUSED:
            first = nearest.results[0][0]
            if (first.class_id, first.display_name) != (class_id, name) or first.distance > 1e-5:
                found.append(f"the nearest of {class_id} in {gallery} is {first}")
    return found


def _right(store: GalleryStore, gallery: str, record: Any) -> bool:
    if not record.id.startswith("c") or not record.id[1:].isdigit():
        return False
    class_id, name, image, embedding = class_of(gallery, int(record.id[1:]))
    if (record.display_name, record.attributes) != (name, {"n": record.id[1:]}):
        return False
    if not np.allclose(record.embedding, embedding, atol=1e-6) or len(record.exemplars) != 1:
        return False
    sent = told(lambda: store.exemplar_image(gallery, class_id, record.exemplars[0].sha256))
    return sent is REFUSED or sent[0] == image


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fill a store and close it: all is in the database, and its indexes are saved."""
    folder = tmp_path_factory.mktemp("stored")
    store = open_store(f"sqlite:{folder}")
    fill(store)
    store.close()
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fill a store and copy it while it is open: all is in the log."""
    folder = tmp_path_factory.mktemp("killed")
    store = open_store(f"sqlite:{folder / DATA}")
    fill(store)
    shutil.copytree(folder / DATA, folder / "copy")
    store.close()
    return folder / "copy"


def outcomes(
    folder: Path,
    file: str,
    count: int,
    tmp_path: Path,
    seed: int,
    opened: Callable[[Path], GalleryStore] = lambda folder: open_store(f"sqlite:{folder}"),
) -> dict[str, int]:
    """Damage a file of a store again and again; count what came of it, with an example of each wrong answer."""
    rng, counts = random.Random(seed), {"refused": 0, "served": 0}
    content = (folder / file).read_bytes()
    for number in range(count):
        copy = tmp_path / str(number)
        shutil.copytree(folder, copy)
        (copy / file).write_bytes(damaged(content, rng))
        try:
            store = opened(copy)
        except StartError:
            counts["refused"] += 1
            continue
        try:
            try:
                found = wrong(store)
            except NotFoundError as error:
                found = [error.message]
            for each in found:
                counts[each] = counts.get(each, 0) + 1
            counts["served"] += 1
        finally:
            store.close()
            shutil.rmtree(copy)
    print(f"{file}, damaged {count:,} times:", ", ".join(f"{number:,} {what}" for what, number in counts.items()))
    return counts


def indexed(folder: Path) -> GalleryStore:
    """Open a store whose galleries have the index of large ones, which is saved."""
    return IndexedStore(SqliteDatabase(folder), AlwaysApproximate(0), folder / "indexes")


def test_a_damaged_index_is_never_searched(tmp_path: Path) -> None:
    store = indexed(tmp_path / "stored")
    fill(store)
    store.close()
    for seed, file in enumerate(("a.index", "b.index")):
        found = outcomes(tmp_path / "stored", f"indexes/{file}", 15 * SCALE, tmp_path / file, seed, indexed)
        assert found == {"refused": 0, "served": 15 * SCALE}, found


@pytest.mark.parametrize("file", ["exemplar.db", "exemplar.mark"])
def test_a_damaged_file_of_a_closed_store_is_refused_or_told(stored: Path, tmp_path: Path, file: str) -> None:
    count = {"exemplar.db": 150, "exemplar.mark": 20}[file]
    found = outcomes(stored, file, count * SCALE, tmp_path, 1)
    assert set(found) == {"refused", "served"}, found


@pytest.mark.parametrize("file", ["exemplar.db", "exemplar.db-wal", "exemplar.mark"])
def test_a_damaged_file_of_a_killed_store_is_refused_or_told(killed: Path, tmp_path: Path, file: str) -> None:
    count = {"exemplar.db": 20, "exemplar.db-wal": 100, "exemplar.mark": 20}[file]
    found = outcomes(killed, file, count * SCALE, tmp_path, 2)
    assert set(found) == {"refused", "served"}, found
