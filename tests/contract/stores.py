"""Every gallery store, classes to put into it, and a brute-force oracle for its answers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from exemplar_encoder.arrays import Floats
from exemplar_encoder.calibration import gaps_of
from exemplar_server.store import (
    Exemplar,
    GalleryStore,
    NewClass,
    NewExemplar,
    open_store,
)

DIMENSION = 8
MODEL = "m" * 64


def embedded(directory: Path, max_bytes: int | None = None, index: str = "auto") -> GalleryStore:
    """Open the store that a server has by default, on a folder."""
    return open_store(f"sqlite:{directory}", index, max_bytes=max_bytes)


def vector(seed: int) -> Floats:
    values = np.random.default_rng(seed).normal(size=DIMENSION).astype(np.float32)
    return values / np.linalg.norm(values)


def exemplar(embedding: Floats, image: bytes = b"image") -> NewExemplar:
    digest = hashlib.sha256(image).hexdigest()
    return NewExemplar(Exemplar(digest, 3, 4, "PNG", len(image)), image, embedding)


def seeded(class_id: str, seed: int) -> NewExemplar:
    return exemplar(vector(seed), f"{class_id}/{seed}".encode())


def new_class(class_id: str, *seeds: int, **fields: object) -> NewClass:
    return NewClass(class_id, [seeded(class_id, seed) for seed in seeds], **fields)  # type: ignore[arg-type]


def sha256(class_id: str, seed: int) -> str:
    return seeded(class_id, seed).exemplar.sha256


def renormalized_mean(seeds: Sequence[int]) -> Floats:
    mean = np.mean([vector(seed).astype(np.float64) for seed in seeds], axis=0)
    return np.asarray(mean / np.linalg.norm(mean), np.float32)


def listed(gaps: Floats | None) -> list[float] | None:
    return None if gaps is None else gaps.tolist()


def nearest_by_brute_force(vectors: dict[str, Floats], query: Floats, count: int) -> list[tuple[str, float]]:
    distances = ((class_id, float(np.linalg.norm(held - query))) for class_id, held in vectors.items())
    return sorted(distances, key=lambda item: (round(item[1], 6), item[0]))[:count]


def assert_answers_like_brute_force(
    store: GalleryStore, gallery: str, vectors: dict[str, Floats], query: Floats, count: int
) -> None:
    found = store.search(gallery, query[None, :], count)
    assert found.gallery.class_count == len(vectors)
    gaps = gaps_of(np.array(list(vectors.values()), np.float32))
    if gaps is None:
        assert found.gaps is store.gaps(gallery) is None
    else:
        assert found.gaps is not None
        if len(vectors) <= 256:  # of a large gallery a sample may be measured
            assert found.gaps == pytest.approx(gaps, abs=1e-5)
        assert found.gaps.mean() == pytest.approx(gaps.mean(), abs=0.02)
        assert listed(store.gaps(gallery)) == listed(found.gaps)
    expected = nearest_by_brute_force(vectors, query, count)
    assert [candidate.class_id for candidate in found.results[0]] == [class_id for class_id, _ in expected]
    assert [candidate.distance for candidate in found.results[0]] == pytest.approx([d for _, d in expected], abs=1e-6)
