"""Nearest neighbors among many vectors, nearly always exactly: short codes are scanned, the best computed anew.

FAISS scans. A code has four bits for every two values (product quantization: Jegou, Douze & Schmid, TPAMI 2011;
scanned in registers: Andre, Kermarrec & Le Scouarnec, VLDB 2015), after a random rotation that evens out how much the
values vary. Codes are kept in lists by the nearest of some centers, and a search scans the lists whose centers are
nearest. The distances to the best of what it finds are computed from the float32 vectors. With few vectors all are
looked at.

Neither codes nor vectors can be taken out of their places. What was replaced or removed stays there, stale, and is
passed over; when a tenth is stale, or the number of vectors has doubled, the index is outgrown.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any, BinaryIO, Self

import faiss
import numpy as np
import numpy.typing as npt

from exemplar_encoder.arrays import Floats, Ints
from exemplar_server.store.index.rows_by_slot import RowsBySlot
from exemplar_server.store.index.vector_index import Fingerprints, exact_distances, fingerprint

# Measured by `benchmarks/vector_index.py`: what a query has to look at for a recall of 0.99 among a million.
_ALL_LOOKED_AT = 1_000
_LOOKED_AT = 100
_SCANNED_AT_LEAST = 200_000
_LIST = 2_000

# The fewest vectors that an index can be trained on, in all and for each list.
FEWEST_SAMPLED = 16

_TRAINED_PER_LIST = 64
_GROWTH = 2
_STALE = 0.1
_FORMAT = 1
_NONE = -1
_CHUNK = 1 << 24
_DIGEST = 32
_THREADS = faiss.omp_get_max_threads()


class ApproximateIndex:
    """The `VectorIndex` for large galleries. Rows are found with a recall that depends on how the vectors lie."""

    def __init__(self, codes: Any, slots: RowsBySlot, vectors: Floats, trained_for: int) -> None:
        self.dimension: int = codes.d
        self._codes = codes
        self._slots = slots
        self._vectors = vectors
        self._trained_for = trained_for

    @classmethod
    def trained(cls, dimension: int, count: int, sample: Floats, threads: int = 1) -> Self:
        """Return an empty index fit for `count` vectors that look like `sample`.

        Args:
            dimension: of the vectors.
            count: how many there will be.
            sample: float32 `[s, dimension]`, see `sample_size`; at least `FEWEST_SAMPLED`.
            threads: to train with.
        """
        faiss.omp_set_num_threads(threads)
        # Two values to a code of four bits, or one where there is an odd number of them.
        parts = dimension // 2 if dimension % 2 == 0 else dimension
        count_of_lists = min(_lists(count), len(sample) // FEWEST_SAMPLED)
        codes: Any = faiss.index_factory(dimension, f"RR{dimension},IVF{count_of_lists},PQ{parts}x4fs")
        lists: Any = faiss.downcast_index(codes.index)
        lists.cp.niter = 8
        lists.cp.min_points_per_centroid = lists.pq.cp.min_points_per_centroid = 1  # it warns of fewer
        lists.cp.max_points_per_centroid = _TRAINED_PER_LIST
        codes.train(np.ascontiguousarray(sample, np.float32))
        lists.nprobe = _probes(lists.nlist, count)
        return cls(codes, RowsBySlot(), np.empty((_GROWTH * max(count, 1), dimension), np.float32), count)

    def __len__(self) -> int:
        return self._slots.held

    def put(self, rows: Ints, vectors: Floats) -> None:
        """See `VectorIndex`."""
        if not len(rows):
            return
        places = self._slots.add(rows)
        if places.stop > len(self._vectors):  # the index that is to replace this one is late
            grown = np.empty((_GROWTH * places.stop, self.dimension), np.float32)
            grown[: places.start] = self._vectors[: places.start]
            self._vectors = grown
        self._vectors[places.start : places.stop] = vectors
        faiss.omp_set_num_threads(1)
        self._codes.add(np.ascontiguousarray(vectors, np.float32))

    def remove(self, rows: Ints) -> None:
        """See `VectorIndex`."""
        self._slots.remove(rows)

    def nearest(self, queries: Floats, count: int) -> tuple[Ints, Floats]:
        """See `VectorIndex`."""
        if not len(self):
            return np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
        if len(self._slots) <= _ALL_LOOKED_AT:
            slots = np.broadcast_to(np.arange(len(self._slots)), (len(queries), len(self._slots)))
        else:
            faiss.omp_set_num_threads(1 if len(queries) == 1 else _THREADS)
            slots = self._scan(queries, max(_LOOKED_AT, 4 * count))
        rows = np.where(slots < 0, _NONE, self._slots.rows[slots])
        distances = exact_distances(self._vectors[np.maximum(slots, 0)], queries)
        distances[rows == _NONE] = np.inf
        return rows, distances

    def _scan(self, queries: Floats, wanted: int) -> Ints:
        """Return slots int64 `[n, m]`, -1 for none; so many of them hold rows, unless what is scanned holds fewer."""
        looked_at = wanted + min(self._slots.stale, wanted // 4)  # some of what is found will be stale
        while True:
            slots: Ints = self._codes.search(queries, looked_at)[1]
            found = (slots >= 0) & (self._slots.rows[slots] != _NONE)
            # A class that was replaced again and again leaves more stale slots than that in one place.
            if ((slots[:, -1] < 0) | (found.sum(axis=1) >= wanted)).all() or looked_at >= len(self._slots):
                return slots
            looked_at = min(4 * looked_at, len(self._slots))

    def rows(self) -> Ints:
        """See `VectorIndex`."""
        return self._slots.rows[self._slots.live()]

    def vectors(self, rows: Ints) -> Floats:
        """See `VectorIndex`."""
        return self._vectors[self._slots.find(rows)]

    def fingerprints(self) -> tuple[Ints, Fingerprints]:
        """See `VectorIndex`."""
        live = self._slots.live()
        parts = np.array_split(live, 1 + len(live) // 100_000)
        prints = [fingerprint(self._slots.rows[part], self._vectors[part]) for part in parts]
        return self._slots.rows[live], np.concatenate(prints)

    def doubtful(self, count: int) -> bool:
        """See `VectorIndex`."""
        return len(self) != count

    def outgrown(self) -> bool:
        """See `VectorIndex`."""
        slots = len(self._slots)
        return slots > max(_GROWTH * self._trained_for, _ALL_LOOKED_AT) or (
            slots > _ALL_LOOKED_AT and self._slots.stale > _STALE * slots
        )

    def close(self) -> None:
        """Let go of the vectors."""
        self._vectors = self._vectors[:0].copy()
        self._codes.reset()

    def save(self, path: Path, about: bytes) -> None:
        """Save the index, whole or not at all.

        Args:
            path: of the file.
            about: what `load` gives back beside it.
        """
        codes = faiss.serialize_index(self._codes)
        slots = len(self._slots)
        parts: list[Any] = [about, self._slots.keys[:slots], self._slots.rows[:slots], self._vectors[:slots], codes]
        beside = path.with_suffix(".writing")
        with open(beside, "wb") as file:
            sizes = [memoryview(part).nbytes for part in parts]
            about_file = {"format": _FORMAT, "dimension": self.dimension, "trained_for": self._trained_for}
            head = json.dumps({**about_file, "sizes": sizes}).encode()
            digest = hashlib.blake2b(head, digest_size=_DIGEST)
            file.write(head + b"\n" + digest.digest())
            for part in parts:
                content = memoryview(part).cast("B") if len(part) else memoryview(b"")
                for start in range(0, len(content), _CHUNK):
                    digest.update(content[start : start + _CHUNK])
                    file.write(content[start : start + _CHUNK])
            file.write(digest.digest())
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)

    @classmethod
    def load(cls, path: Path) -> tuple[Self, bytes]:
        """Load a saved index, and what was saved about it.

        Raises:
            ValueError: the file is not whole, damaged or of another format; a sentence says so.
            OSError: it cannot be read.
        """
        with open(path, "rb") as file:
            line = file.readline(4096)
            digest = hashlib.blake2b(line[:-1], digest_size=_DIGEST)
            if file.read(_DIGEST) != digest.digest():
                raise ValueError("it is no saved index, or its head is damaged")
            head = json.loads(line)
            if head["format"] != _FORMAT:
                raise ValueError(f"its format is {head['format']}, this program knows {_FORMAT}")
            dimension, sizes = head["dimension"], head["sizes"]
            if sum(sizes) + len(line) + 2 * _DIGEST != path.stat().st_size:
                raise ValueError("it is not whole")
            slots = sizes[1] // 8
            about = np.empty(sizes[0], np.uint8)
            keys, rows = np.empty(slots, np.int64), np.empty(slots, np.int64)
            vectors = np.empty((_GROWTH * max(head["trained_for"], slots, 1), dimension), np.float32)
            codes = np.empty(sizes[4], np.uint8)
            parts: list[Any] = [about, keys, rows, vectors[:slots], codes]
            for part in parts:
                _read(file, part.reshape(-1).view(np.uint8), digest)
            if file.read() != digest.digest():
                raise ValueError("it does not match its checksum")
        found = cls(faiss.deserialize_index(codes), RowsBySlot(keys, rows), vectors, head["trained_for"])
        return found, about.tobytes()


def sample_size(count: int) -> int:
    """Return how many vectors an index for `count` is trained on."""
    return max(10_000, _TRAINED_PER_LIST * _lists(count))


def _lists(count: int) -> int:
    return 1 << max(0, round(math.log2(max(1, count) / _LIST)))


def _probes(lists: int, count: int) -> int:
    scanned = max(_SCANNED_AT_LEAST, 6.3 * float(count) ** 0.75)
    return int(min(lists, math.ceil(lists * scanned / max(1, count))))


def _read(file: BinaryIO, into: npt.NDArray[np.uint8], digest: hashlib.blake2b) -> None:
    for start in range(0, len(into), _CHUNK):
        part = memoryview(into[start : start + _CHUNK])  # type: ignore[arg-type]
        if file.readinto(part) != len(part):  # type: ignore[attr-defined]
            raise ValueError("it is not whole")
        digest.update(part)
