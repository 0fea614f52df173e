"""Nearest neighbors among many vectors: short codes are scanned, the best computed from the vectors themselves.

FAISS scans. A code has four bits for each part of a vector (product quantization: Jegou, Douze & Schmid, TPAMI 2011;
scanned in registers: Andre, Kermarrec & Le Scouarnec, VLDB 2015), after a random rotation that evens out how much the
values vary. There are two plans, by the number of vectors an index is trained for:

Up to `EXACT_UP_TO`, a part is one value, every code is scanned, and the nearest row is found for certain. How far
each vector is from what its code says is known, so by the triangle inequality whatever was not fetched is farther
than some bound; more is fetched until the nearest found is within it. The few vectors that their codes tell worst
would widen the bound for all: they are always looked at. However vectors lie, the nearest is that of an exact search;
how soon it is proven depends on how they lie. The others are nearly always right.

Beyond, a part is two values, codes are kept in lists by the nearest of some centers, and a search scans the lists
with the nearest centers, so that what lies in other lists is missed.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Self

import faiss
import numpy as np

from exemplar_encoder.arrays import Floats, Ints
from exemplar_server.store.index import index_file
from exemplar_server.store.index.vector_index import Fingerprints, exact_distances, fingerprint

# Measured by `benchmarks/vector_index.py` on vectors that lie as trained embeddings do.
EXACT_UP_TO = 200_000
_SCANNED_OF_A_MILLION = 195_000
_SCANNED_GROWTH = 0.45  # ten times the vectors, 2.8 times as many to scan
_LOOKED_AT = 64

_ALL_LOOKED_AT = 1_000
_ROUNDS = 128, 512, 2_048, 8_192  # how many are fetched until the nearest is proven; then all are looked at
_OUTLIERS = 0.002  # of a sample, those that their codes tell worst
_TOO_MANY = 10 * _OUTLIERS
_CHUNK = 8_192
_ROUNDING = 1e-5  # of float32 arithmetic on squared distances, relative to squared norms

_TRAINED_PER_LIST = 64
_TRAINED_FOR_CODES = 16_384
_CENTERS = 16  # of each part of a code
_GROWTH = 4
_ROOM = 2
_FREE = -1
_THREADS = faiss.omp_get_max_threads()


class ApproximateIndex:
    """The `VectorIndex` for large galleries. Above `EXACT_UP_TO` its recall depends on how the vectors lie.

    Attributes:
        exact: whether the nearest row is found for certain.
    """

    def __init__(
        self, codes: Any, trained_for: int, widest: float, rows: Ints, vectors: Floats, errors: Floats
    ) -> None:
        """Hold what `codes` has; use `trained` or `load`.

        Args:
            codes: FAISS's index; its identifiers are slots.
            trained_for: how many vectors it was made for.
            widest: how far a vector may be from what its code says without being an outlier.
            rows: int64 `[slots]`, the row in each slot, -1 in a free one.
            vectors: float32 `[capacity, dimension]`, in the first slots those of `rows`. It is kept, not copied.
            errors: float32 `[slots]`, how far each vector is from what its code says; `[0]` where it is not exact.
        """
        self.dimension: int = codes.d
        self._codes = codes
        self._rotation: Any = faiss.downcast_VectorTransform(codes.chain.at(0))
        lists: Any = faiss.downcast_index(codes.index)
        self._lists = lists
        self._lists.nprobe = _probes(self._lists.nlist, trained_for)
        self._inverted: Any = faiss.downcast_InvertedLists(self._lists.invlists)
        self.exact: bool = self._lists.nlist == 1
        codec = self._lists.pq
        self._centers: Floats = faiss.vector_to_array(codec.centroids).reshape(-1, _CENTERS, codec.dsub)
        self._trained_for = trained_for
        self._widest = widest
        self._used = len(rows)
        self._vectors = vectors
        self._rows = np.full(len(vectors), _FREE, np.int64)
        self._rows[: self._used] = rows
        self._errors = np.zeros(len(vectors) if self.exact else 0, np.float32)
        self._errors[: len(errors)] = errors
        self._outliers = np.flatnonzero((errors > widest) & (rows[: len(errors)] != _FREE))
        held = np.flatnonzero(rows != _FREE)
        self._slots: dict[int, int] = dict(zip(rows[held].tolist(), held.tolist(), strict=True))
        self._free: list[int] = np.flatnonzero(rows == _FREE).tolist()

    @classmethod
    def trained(cls, dimension: int, count: int, sample: Floats, threads: int = 1) -> Self:
        """Return an empty index fit for `count` vectors that look like `sample`.

        Args:
            dimension: of the vectors.
            count: how many there will be.
            sample: float32 `[s, dimension]`, see `sample_size`; fewer will do, with a lower recall.
            threads: to train with.
        """
        exact = count <= EXACT_UP_TO
        parts = dimension if exact or dimension % 2 else dimension // 2
        lists = 1 if exact else min(_lists(count), max(1, len(sample)))
        faiss.omp_set_num_threads(threads)
        codes: Any = faiss.index_factory(dimension, f"RR{dimension},IVF{lists},PQ{parts}x4fs")
        inner: Any = faiss.downcast_index(codes.index)
        inner.cp.niter = 6
        inner.cp.max_points_per_centroid = _TRAINED_PER_LIST
        inner.cp.min_points_per_centroid = inner.pq.cp.min_points_per_centroid = 1  # FAISS warns of fewer
        sample = _enough(sample, dimension)
        codes.train(sample)
        rotated = faiss.downcast_VectorTransform(codes.chain.at(0)).apply(sample[:_TRAINED_FOR_CODES])
        widest = float(np.quantile(_errors(inner.pq, rotated), 1 - _OUTLIERS))
        room = np.empty((_ROOM * max(count, 1), dimension), np.float32)
        return cls(codes, count, widest, np.empty(0, np.int64), room, np.empty(0, np.float32))

    def __len__(self) -> int:
        return len(self._slots)

    def put(self, rows: Ints, vectors: Floats) -> None:
        """See `VectorIndex`. Old and new vectors of a row are never held beside each other."""
        if not len(rows):
            return
        self.remove(rows)
        numbers = rows.tolist()
        slots = [self._free.pop() for _ in range(min(len(self._free), len(numbers)))]
        new = len(numbers) - len(slots)
        slots.extend(range(self._used, self._used + new))
        self._make_room(self._used + new)
        places = np.array(slots, np.int64)
        self._used += new
        self._vectors[places], self._rows[places] = vectors, rows
        if self.exact:
            errors = _errors(self._lists.pq, self._rotation.apply(np.ascontiguousarray(vectors, np.float32)))
            self._errors[places] = errors
            self._outliers = np.union1d(self._outliers, places[errors > self._widest])
        faiss.omp_set_num_threads(1)
        self._codes.add_with_ids(np.ascontiguousarray(vectors, np.float32), places)
        self._slots.update(zip(numbers, slots, strict=True))

    def remove(self, rows: Ints) -> None:
        """See `VectorIndex`. It takes 0.1 ms a row."""
        slots = [slot for row in rows.tolist() if (slot := self._slots.pop(row, None)) is not None]
        if not slots:
            return
        faiss.omp_set_num_threads(1)
        for slot in slots:
            self._take_out(slot)
        self._rows[slots] = _FREE
        self._outliers = np.setdiff1d(self._outliers, slots)
        self._free.extend(slots)

    def nearest(self, queries: Floats, count: int) -> tuple[Ints, Floats]:
        """See `VectorIndex`."""
        total = len(self)
        if not total:
            return np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
        if self._used <= _ALL_LOOKED_AT:
            return self._measured(np.broadcast_to(np.arange(self._used), (len(queries), self._used)), queries)
        # See `flat.py`: threads that meet at a barrier cost one query more than they save it.
        faiss.omp_set_num_threads(1 if len(queries) < 8 else _THREADS)
        if self.exact:
            return self._nearest_proven(queries, count)
        return self._measured(self._codes.search(queries, max(_LOOKED_AT, 4 * count))[1], queries)

    def rows(self) -> Ints:
        """See `VectorIndex`."""
        return self._rows[self._held()]

    def vectors(self, rows: Ints) -> Floats:
        """See `VectorIndex`."""
        return self._vectors[[self._slots[row] for row in rows.tolist()]].reshape(-1, self.dimension)

    def fingerprints(self) -> tuple[Ints, Fingerprints]:
        """See `VectorIndex`."""
        held = self._held()
        parts = [held[first : first + _CHUNK] for first in range(0, max(1, len(held)), _CHUNK)]
        found = [fingerprint(self._rows[part], self._vectors[part]) for part in parts]
        return self._rows[held], np.concatenate(found)

    def doubtful(self, count: int) -> bool:
        """See `VectorIndex`."""
        return len(self) != count

    def mended(self) -> None:
        """Do nothing: it is doubtful only while it holds another number."""

    def outgrown(self) -> bool:
        """See `VectorIndex`: when it holds four times as many as it was made for, or others than its sample."""
        return len(self) > max(_ALL_LOOKED_AT, _GROWTH * self._trained_for) or self._crowded()

    def clear(self) -> None:
        """Hold nothing any more."""
        self.close()

    def close(self) -> None:
        """Let go of the vectors."""
        self._codes.reset()
        self._slots, self._free, self._used, self._outliers = {}, [], 0, self._outliers[:0]
        self._vectors, self._rows, self._errors = (
            self._vectors[:0].copy(),
            self._rows[:0].copy(),
            self._errors[:0].copy(),
        )

    def save(self, path: Path, about: bytes) -> None:
        """Save the index, whole or not at all. Nothing may be put or removed meanwhile.

        Args:
            path: of the file.
            about: what `load` gives back beside it.
        """
        numbers = np.array([self.dimension, self._trained_for, self._widest], np.float64)
        slots = [each[: self._used] for each in (self._rows, self._errors, self._vectors)]
        index_file.write(path, [np.frombuffer(about, np.uint8), numbers, *slots, faiss.serialize_index(self._codes)])

    @classmethod
    def load(cls, path: Path) -> tuple[Self, bytes]:
        """Load a saved index, and what was saved about it.

        Raises:
            ValueError: the file is not whole, damaged or of another format; a sentence says so.
            OSError: it cannot be read.
        """
        with index_file.Reader(path) as file:
            about, numbers = file.part(np.uint8), file.part(np.float64)
            rows, errors = file.part(np.int64), file.part(np.float32)
            dimension, trained_for = (int(number) for number in numbers[:2])
            # Room is reserved and not touched, so it takes no memory until it is used.
            room = np.empty((_ROOM * max(len(rows), trained_for, 1), dimension), np.float32)
            file.part(np.float32, into=room.reshape(-1)[: len(rows) * dimension])
            codes = file.part(np.uint8)
        index = cls(faiss.deserialize_index(codes), trained_for, float(numbers[2]), rows, room, errors)
        return index, about.tobytes()

    def _held(self) -> Ints:
        return np.asarray(np.flatnonzero(self._rows[: self._used] != _FREE), np.int64)

    def _measured(self, slots: Ints, queries: Floats) -> tuple[Ints, Floats]:
        """Return rows and distances of `slots` `[n, m]`; -1 and infinity for a slot that is free or -1."""
        rows = np.where(slots < 0, _FREE, self._rows[slots])
        distances = exact_distances(self._vectors[np.maximum(slots, 0)], queries)
        distances[rows == _FREE] = np.inf
        return rows, distances

    def _nearest_proven(self, queries: Floats, count: int) -> tuple[Ints, Floats]:
        """Return the nearest row of each query for certain, and what else may be among the `count` nearest."""
        squared, slots = self._codes.search(queries, max(_ROUNDS[0], 4 * count))
        widest = self._widest
        if self._crowded():
            widest = math.inf
        elif len(self._outliers):
            slots[self._errors[slots] > self._widest] = _FREE
            outliers = np.broadcast_to(self._outliers, (len(queries), len(self._outliers)))
            slots = np.concatenate([slots, outliers], axis=1)
        rows, distances = self._measured(slots, queries)
        nearest = distances.min(axis=1)
        blurs = self._blurs(queries)
        open_ = np.flatnonzero(np.sqrt(np.maximum(squared[:, -1] - blurs, 0)) - widest <= nearest)
        if not len(open_):
            return rows, distances
        more = [
            self._within(queries[place : place + 1], float(nearest[place]), float(blurs[place]), widest, slots[place])
            for place in open_
        ]
        added = np.full((len(queries), max(len(found) for found in more)), _FREE, np.int64)
        for place, found in zip(open_, more, strict=True):
            added[place, : len(found)] = found
        more_rows, more_distances = self._measured(added, queries)
        return np.concatenate([rows, more_rows], axis=1), np.concatenate([distances, more_distances], axis=1)

    def _within(self, query: Floats, distance: float, blur: float, widest: float, known: Ints) -> Ints:
        """Return at least all slots whose vectors are within `distance` of a query, except those of `known`."""
        for fetched in _ROUNDS[1:] if math.isfinite(widest) else ():
            squared, slots = (found[0] for found in self._codes.search(query, fetched))
            beyond = np.sqrt(np.maximum(squared - blur, 0))
            if beyond[-1] - widest > distance:
                return np.setdiff1d(slots[beyond - self._errors[slots] <= distance], known)
        scanned = np.empty(self._used, np.float32)
        pointers = (faiss.swig_ptr(array) for array in (scanned, query, self._vectors))
        faiss.fvec_L2sqr_ny(*pointers, self.dimension, self._used)  # type: ignore[attr-defined]
        return np.setdiff1d(np.flatnonzero(scanned <= distance * distance * (1 + _ROUNDING)), known)

    def _crowded(self) -> bool:
        """Return whether so many are outliers that looking at all is quicker than looking at them each time."""
        return len(self._outliers) > max(_ALL_LOOKED_AT, _TOO_MANY * self._used)

    def _blurs(self, queries: Floats) -> Floats:
        """Return by how much FAISS's squared distances of codes may be wrong, float32 `[n]`.

        It rounds the squared distance in each part to a step that 255 of cover the widest part, and 65,535 of all.
        """
        rotated = self._rotation.apply(queries).reshape(len(queries), len(self._centers), 1, -1)
        tables = np.square(rotated - self._centers).sum(axis=-1)
        spans = tables.max(axis=-1) - tables.min(axis=-1)
        step = np.maximum(spans.max(axis=-1) / 255, spans.sum(axis=-1) / 65_535)
        return np.asarray(
            0.5 * len(self._centers) * step + 4 * _ROUNDING * tables.max(axis=-1).sum(axis=-1), np.float32
        )

    def _take_out(self, slot: int) -> None:
        """Put the last code of a slot's list in the place of the slot's, and nothing where that was.

        FAISS adds codes by setting bits in a block that it takes to be empty beyond its last code. Its own
        `remove_ids` leaves the old ones there, so that codes added afterwards are wrong.
        """
        number, place = self._find(slot)
        size = self._inverted.list_size(number)
        packer = self._inverted.packer
        blocks = faiss.rev_swig_ptr(
            self._inverted.get_codes(number), math.ceil(size / packer.nvec) * packer.block_size
        ).reshape(-1, 1, packer.block_size)
        last, at_last = divmod(size - 1, packer.nvec)
        freed, at_freed = divmod(place, packer.nvec)
        packer.pack_1(packer.unpack_1(blocks[last], at_last), at_freed, blocks[freed])
        packer.pack_1(np.zeros(packer.code_size, np.uint8), at_last, blocks[last])
        ids = self._ids(number)
        ids[place] = ids[-1]
        self._inverted.resize(number, size - 1)

    def _find(self, slot: int) -> tuple[int, int]:
        """Return in which list a slot's code is, and where there."""
        nearest = int(self._lists.quantizer.assign(self._rotation.apply(self._vectors[slot : slot + 1]), 1)[0, 0])
        # As near to another center, it may have been rounded otherwise among the vectors that it came with.
        for number in (nearest, *range(self._lists.nlist)):
            places = np.flatnonzero(self._ids(number) == slot)
            if len(places):
                return number, int(places[0])
        raise RuntimeError(f"slot {slot} is in no list")

    def _ids(self, number: int) -> Ints:
        """Return the slots of a list's codes, to be written as well."""
        size = self._inverted.list_size(number)
        return np.asarray(faiss.rev_swig_ptr(self._inverted.get_ids(number), size)) if size else np.empty(0, np.int64)

    def _make_room(self, slots: int) -> None:
        if slots <= len(self._vectors):
            return
        room = _ROOM * slots
        vectors, rows = np.empty((room, self.dimension), np.float32), np.full(room, _FREE, np.int64)
        vectors[: self._used], rows[: self._used] = self._vectors[: self._used], self._rows[: self._used]
        errors = np.zeros(room if self.exact else 0, np.float32)
        errors[: self._used] = self._errors[: self._used]
        self._vectors, self._rows, self._errors = vectors, rows, errors


def sample_size(count: int) -> int:
    """Return how many vectors an index for `count` is best trained on."""
    return _TRAINED_FOR_CODES if count <= EXACT_UP_TO else max(_TRAINED_FOR_CODES, _TRAINED_PER_LIST * _lists(count))


def _errors(codec: Any, rotated: Floats) -> Floats:
    """Return how far vectors are from what their codes say, float32 `[n]`; a little more, as arithmetic rounds."""
    told = codec.decode(codec.compute_codes(rotated))
    squares = np.square(rotated - told).sum(axis=1) + _ROUNDING * np.square(rotated).sum(axis=1)
    return np.asarray(np.sqrt(squares), np.float32)


def _lists(count: int) -> int:
    return 1 << round(math.log2(count) / 2)


def _probes(lists: int, count: int) -> int:
    scanned = _SCANNED_OF_A_MILLION * (max(1, count) / 1e6) ** _SCANNED_GROWTH
    return int(min(lists, math.ceil(lists * scanned / max(1, count))))


def _enough(sample: Floats, dimension: int) -> Floats:
    """Return `sample` with others beside, if it is too small for FAISS to train a code of four bits on."""
    missing = _CENTERS - len(sample)
    if missing <= 0:
        return np.ascontiguousarray(sample, np.float32)
    others = np.random.default_rng(0).normal(size=(missing, dimension))
    return np.concatenate([sample, others]).astype(np.float32)
