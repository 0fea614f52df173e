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

# So many are searched exactly whatever was asked for: that is as quick, and there is enough to train on beyond.
_FEWEST = 5_000
_FEWEST_SAMPLED = 16


class ApproximateKind:
    """An exact index while that is quick, and an approximate one beyond."""

    remote = False

    def __init__(self, exact_products: int) -> None:
        """Search exactly up to `exact_products` multiplications a query, see `FlatIndex`; 0 for never."""
        self._exact_products = exact_products

    def start(self, source: VectorSource, saved: Path | None) -> tuple[VectorIndex, Filled]:
        """See `IndexKind`; where nothing is saved, an exact index until a better one is built."""
        gallery = source.truth.get_gallery(source.gallery)
        if saved is not None and saved.exists() and gallery.class_count > self._exact(gallery.dimension):
            found = self._load(source, saved, gallery.dimension)
            if found is not None:
                return found
        if not self._exact_products:
            return self.build(source)
        index = FlatIndex(gallery.dimension, self._exact(gallery.dimension))
        return index, source.fill(index)

    def build(self, source: VectorSource) -> tuple[VectorIndex, Filled]:
        """See `IndexKind`."""
        gallery = source.truth.get_gallery(source.gallery)
        exact = self._exact(gallery.dimension)
        sample = source.sample(sample_size(gallery.class_count)) if gallery.class_count > exact else None
        if sample is None or len(sample) < _FEWEST_SAMPLED:  # the truth may have lost most of them
            small = FlatIndex(gallery.dimension, exact if sample is None else None)
            return small, source.fill(small)
        index = ApproximateIndex.trained(gallery.dimension, gallery.class_count, sample)
        return index, source.fill(index)

    def save(self, index: VectorIndex, version: Version, path: Path) -> None:
        """See `IndexKind`."""
        if isinstance(index, ApproximateIndex):
            try:
                index.save(path, json.dumps(asdict(version)).encode())
            except OSError as error:
                _log.warning("an index cannot be saved; it will be built anew", path=str(path), reason=str(error))

    def close(self) -> None:
        """See `IndexKind`."""

    def _exact(self, dimension: int) -> int:
        """Return how many vectors are searched exactly."""
        return max(_FEWEST, self._exact_products // dimension)

    def _load(self, source: VectorSource, path: Path, dimension: int) -> tuple[VectorIndex, Filled] | None:
        try:
            index, about = ApproximateIndex.load(path)
            if index.dimension != dimension:
                raise ValueError(f"its vectors have {index.dimension} values, the gallery's {dimension}")
        except (ValueError, OSError) as error:
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
