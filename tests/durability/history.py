"""Changes of a store, drawn from a seed: what they leave is known, so that a store can be compared with it.

`python -m tests.durability.history FOLDER COUNT SEED` makes them, and writes a line to `FOLDER/told` before each and
after each, as a client knows of them.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from exemplar_server.errors import NotFoundError
from exemplar_server.store import GalleryStore, NewClass, open_store
from tests.contract.stores import DIMENSION, MODEL, exemplar, vector

TOLD = "told"
DATA = "data/store"
_GALLERIES = ("a", "b")
_CLASSES = 9
_SEEDS = 200

# Of each gallery: of each class its seed and its name.
Content = dict[str, dict[str, tuple[int, str]]]


@dataclass(frozen=True)
class Change:
    """A change of one gallery: `create` or `drop` it, `put` classes by their seeds, `delete` or `rename` one."""

    kind: str
    gallery: str
    classes: tuple[tuple[str, int], ...] = ()
    name: str = ""


def changes(count: int, seed: int) -> list[Change]:
    """Draw changes; the first ones make the galleries."""
    rng = random.Random(seed)
    ids = [f"c{number}" for number in range(_CLASSES)]
    drawn = [Change("create", gallery) for gallery in _GALLERIES]
    while len(drawn) < count:
        gallery = rng.choice(_GALLERIES)
        (kind,) = rng.choices(["put", "delete", "rename", "drop"], [6, 3, 2, 0.3])
        if kind == "drop":
            drawn += [Change("drop", gallery), Change("create", gallery)]
            continue
        chosen = rng.sample(ids, rng.randint(1, 3) if kind == "put" else 1)
        drawn.append(Change(kind, gallery, tuple((each, rng.randrange(_SEEDS)) for each in chosen), f"n{len(drawn)}"))
    return drawn


def after(content: Content, change: Change) -> Content:
    """Return what a change leaves."""
    now = {gallery: dict(classes) for gallery, classes in content.items()}
    if change.kind == "drop":
        del now[change.gallery]
        return now
    held = now.setdefault(change.gallery, {})
    for class_id, seed in change.classes:
        if change.kind == "put":
            held[class_id] = seed, ""
        elif change.kind == "delete":
            held.pop(class_id, None)
        elif class_id in held:
            held[class_id] = held[class_id][0], change.name
    return now


def states(of: Sequence[Change]) -> list[Content]:
    """Return what was there before any change, and after each."""
    found: list[Content] = [{}]
    for change in of:
        found.append(after(found[-1], change))
    return found


def make(store: GalleryStore, change: Change) -> None:
    """Make a change in a store."""
    if change.kind == "create":
        store.create_gallery(change.gallery, MODEL, DIMENSION)
    elif change.kind == "drop":
        store.delete_gallery(change.gallery, force=True)
    elif change.kind == "put":
        store.put_classes(change.gallery, [new_class(*each) for each in change.classes])
    else:
        ((class_id, _),) = change.classes
        with suppress(NotFoundError):  # it was drawn without a look
            if change.kind == "delete":
                store.delete_class(change.gallery, class_id)
            else:
                store.update_class(change.gallery, class_id, display_name=change.name)


@cache
def new_class(class_id: str, seed: int) -> NewClass:
    """Return a class whose image and vector come of a seed; images of 20 bytes to 40 kB."""
    rng = np.random.default_rng(seed)
    return NewClass(class_id, [exemplar(vector(seed), rng.bytes(int(20 * 2000 ** rng.random())))])


@cache
def _seeds() -> dict[bytes, int]:
    return {vector(seed).tobytes(): seed for seed in range(_SEEDS)}


def content(store: GalleryStore) -> Content:
    """Read all that a store holds: every vector and image is one that was given, and every class is found."""
    found: Content = {}
    for gallery in store.list_galleries():
        classes = found[gallery.id] = {}
        for record in store.list_classes(gallery.id):
            ((sha256, embedding),) = store.exemplar_embeddings(gallery.id, record.id).items()
            seed = _seeds()[embedding.tobytes()]
            (wanted,) = new_class(record.id, seed).exemplars
            assert store.exemplar_image(gallery.id, record.id, sha256)[0] == wanted.image
            classes[record.id] = seed, record.display_name
        assert gallery.class_count == len(classes)
        for class_id, (seed, _) in classes.items():
            nearest = store.search(gallery.id, vector(seed)[None], len(classes)).results[0]
            assert class_id in {each.class_id for each in nearest if each.distance < 1e-5}
            assert {each.class_id for each in nearest} == set(classes)
    return found


def main(folder: Path, count: int, seed: int) -> None:
    """Make changes, with a few closes, checkpoints and steps of reclaiming among them."""
    told = os.open(folder / TOLD, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    store = open_store(f"sqlite:{folder / DATA}")
    for number, change in enumerate(changes(count, seed)):
        os.write(told, f"begin {number}\n".encode())
        make(store, change)
        os.write(told, f"done {number}\n".encode())
        if number % 13 == 12:
            store.reclaim()
        if number % 37 == 36:
            store.close()
            store = open_store(f"sqlite:{folder / DATA}")
    store.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
