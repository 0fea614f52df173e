"""Stores with all that a gallery can hold, and their archives."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from exemplar_encoder import EncodedImage, Region
from exemplar_server.store import Exemplar, GalleryChanges, NewClass, NewExemplar, Request
from exemplar_server.store.opening import open_snapshot, open_truth
from exemplar_server.store.records import ClassCopy, ClassRecord, Gallery, StoredClass
from exemplar_server.transfer.archive import write_archive
from exemplar_server.transfer.source import TruthSource
from tests.calibrations import made_up

DIMENSION = 8
REQUEST: Request[tuple[list[StoredClass], int]] = Request("r-1", "Enroll", b"d" * 32, lambda effect: b"answered")
SHELF = b"a picture of a whole shelf"


def exemplar(seed: int, image: bytes, region: str | None = None) -> NewExemplar:
    part = None if region is None else Region.parse(region)
    described = Exemplar(EncodedImage(image, part).sha256(), 30 + seed, 40, "PNG", len(image), part)
    return NewExemplar(described, image, np.random.default_rng(seed).normal(size=DIMENSION).astype(np.float32))


def stock(store: str) -> None:
    """Make galleries `empty`, `rich` and `plain` in a store; their histories are more than their content."""
    with closing(open_truth(store)) as truth:
        truth.create_gallery("rich", "m" * 64, DIMENSION, "Zähler „A“", 0.015625, 4)
        truth.update_gallery("rich", GalleryChanges(frozenset({"calibration"}), calibration=made_up()))
        many = [exemplar(seed, b"image %d" % seed) for seed in range(4)]
        attributes = {"z": "last\r\n", "a": "\u2028 \x85 ✓", "": "{}"}
        truth.put_classes("rich", [NewClass("ß \u2028 🙂", many, "Names\n\x00", attributes)], REQUEST)
        truth.remove_exemplar("rich", "ß \u2028 🙂", many[1].exemplar.sha256)
        truth.add_exemplars("rich", "ß \u2028 🙂", [exemplar(9, b"image 1")])
        for number, region in enumerate(("#xywh=pixel:0,0,10,10", "#xywh=fraction:0.5,0.5,0.25,0.25")):
            truth.put_classes("rich", [NewClass(f"part {number}", [exemplar(20 + number, SHELF, region)])])
        truth.put_classes("rich", [NewClass("gone", [exemplar(30, b"gone")]), NewClass("A", [exemplar(31, SHELF)])])
        truth.delete_class("rich", "gone")
        truth.create_gallery("plain", "n" * 64, DIMENSION)
        truth.put_classes("plain", [NewClass(f"c{seed}", [exemplar(seed, b"%d" % seed)]) for seed in range(9)])
        truth.create_gallery("empty", "n" * 64, 3)


def load_many(store: str, count: int, gallery: str = "many") -> None:
    """Load a gallery with classes `000000` and on, each with an image of its own."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    settled = Gallery(gallery, "", "m" * 64, DIMENSION, 5, count, None, None, moment, moment)
    vectors = np.random.default_rng(0).normal(size=(count, DIMENSION)).astype(np.float32)
    copies = []
    for number, vector in enumerate(vectors):
        image = b"%d" % number * 50
        described = Exemplar(hashlib.sha256(image).hexdigest(), 3, 4, "PNG", len(image))
        exemplars = [NewExemplar(described, image, vector)]
        copies.append(ClassCopy(f"{number:06}", "", {}, moment, moment, vector, exemplars))
    with closing(open_truth(store)) as truth:
        truth.load_gallery(settled)
        truth.load_classes(gallery, copies)
        truth.finish_load(settled)


def back_up(store: str, path: Path, only: Collection[str] = ()) -> bytes:
    """Write an archive of a store and return its content."""
    with open_snapshot(store) as snapshot:
        write_archive(TruthSource(snapshot, "the store", only), path, lambda count: None)
    return path.read_bytes()


def records(store: str, gallery: str) -> tuple[Gallery, str, Sequence[tuple[ClassRecord, str]]]:
    """Return all that a caller sees of a gallery."""
    with closing(open_truth(store)) as truth:
        held = truth.get_gallery(gallery)
        return held, held.etag, [(each, each.etag) for each in truth.list_classes(gallery, limit=1000)]


def members(archive: bytes) -> Iterator[tuple[str, int, int]]:
    """Yield name, start and size of each member of an archive, as a tar has them."""
    import io
    import tarfile

    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            yield member.name, member.offset_data, member.size
