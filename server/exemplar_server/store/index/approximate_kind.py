"""Approximate indexes for large galleries: built in the background, saved beside the database, loaded at start.

A saved index says which state of the gallery it is of. The truth knows whether there was such a state, and what
changed since; an index of no such state, or with another number of classes, is compared with the truth vector by
vector.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import structlog

from exemplar_server.store.index.approximate import ApproximateIndex, sample_size
from exemplar_server.store.index.flat import FlatIndex
from exemplar_server.store.index.vector_index import VectorIndex
from exemplar_server.store.index.vector_source import Filled, VectorSource, apply
from exemplar_server.store.records import Version

_log = structlog.get_logger()

# Fewer are searched exactly whatever was asked for: that is as quick, and there is enough to train on beyond.
_FEWEST = 5_000


class ApproximateKind:
    """An exact index while that is quick, and an approximate one beyond."""

    remote = False

    def __init__(self, exact_products: int) -> None:
        """Search exactly up to `exact_products` multiplications a query, see `FlatIndex`; 0 for never."""
        self._exact_products = exact_products

    def start(self, source: VectorSource, saved: Path | None) -> tuple[VectorIndex, Filled]:
        """See `IndexKind`; where nothing is saved, an exact index until a better one is built."""
        gallery = source.truth.get_gallery(source.gallery)
        if saved is not None and saved.exists() and gallery.class_count * gallery.dimension > self._exact_products:
            found = self._load(source, saved)
            if found is not None:
                return found
        if not self._exact_products:
            return self.build(source)
        index = FlatIndex(gallery.dimension, self._exact_products // gallery.dimension)
        return index, source.fill(index)

    def build(self, source: VectorSource) -> tuple[VectorIndex, Filled]:
        """See `IndexKind`."""
        gallery = source.truth.get_gallery(source.gallery)
        if gallery.class_count < _FEWEST:
            small = FlatIndex(gallery.dimension, _FEWEST)
            return small, source.fill(small)
        sample = source.sample(sample_size(gallery.class_count))
        index = ApproximateIndex.trained(gallery.dimension, gallery.class_count, sample)
        return index, source.fill(index)

    def save(self, index: VectorIndex, version: Version, path: Path) -> None:
        """See `IndexKind`."""
        if isinstance(index, ApproximateIndex):
            index.save(path, json.dumps(asdict(version)).encode())

    def close(self) -> None:
        """See `IndexKind`."""

    def _load(self, source: VectorSource, path: Path) -> tuple[VectorIndex, Filled] | None:
        try:
            index, about = ApproximateIndex.load(path)
        except ValueError as error:
            _log.warning("a saved index cannot be used", path=str(path), reason=str(error))
            return None
        saved = Version(**json.loads(about))
        changes = source.truth.changes(source.gallery, saved)
        if changes is not None:
            apply(index, None, changes)
            missing = source.truth.missing_classes(source.gallery)
            if len(index) == changes.gallery.class_count - missing:
                filled = Filled(changes.gallery, changes.version, {}, missing, saved.revision)
                return index, filled.after(changes)
        _log.warning("comparing a saved index with the database", path=str(path))
        return index, source.fill(index)
