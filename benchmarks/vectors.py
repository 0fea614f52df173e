"""Vectors to measure indexes with: galleries of any size, and queries for them. All float32 of unit length.

`trained_like` lies much as the embeddings of `models/omniglot-held-out` do on the five alphabets that it never saw:
variance falls with the component, and classes come in families as letters do in alphabets. `second_pictures` are
other pictures of classes in the gallery. Percentiles 5, 25, 50, 75 and 95 of 165 classes, and those of the alphabets:

* to the nearest other class 0.81 0.86 0.91 0.95 1.02, there 0.60 0.80 0.94 1.07 1.15;
* to a second picture 0.34 0.50 0.63 0.77 0.98, there 0.37 0.51 0.63 0.78 1.08;
* 43 of 128 dimensions of a class's spread are effective (45 in a gallery of 100,000), there 45.

`uniform` has no structure at all, and `near_duplicates` are next to one of it.
"""

from __future__ import annotations

import numpy as np

from exemplar_encoder.arrays import Floats

DIMENSION = 128
_FAMILY = 40
_CHUNK = 100_000
# Standard deviations of the components, falling so that (sum of variances)^2 / sum of squared variances is 43.
_SPREAD = np.exp(-np.arange(DIMENSION) / 43.5).astype(np.float32)
_APART = 1.3  # from the middle of a family to a class, before both are brought to unit length
_SECOND = 0.74  # from a class to another picture of it; smaller and larger by a log-normal factor


def trained_like(count: int, seed: int = 0) -> Floats:
    """Return vectors `[count, 128]` that lie as trained embeddings do."""
    random = np.random.default_rng(seed)
    middles = _unit(random.normal(size=(max(1, count // _FAMILY), DIMENSION)).astype(np.float32) * _SPREAD)
    found = np.empty((count, DIMENSION), np.float32)
    for first in range(0, count, _CHUNK):
        size = min(_CHUNK, count - first)
        apart = _unit(random.standard_normal((size, DIMENSION), np.float32) * _SPREAD)
        family = random.integers(len(middles), size=size)
        found[first : first + size] = _unit(middles[family] + _APART * apart)
    return found


def second_pictures(vectors: Floats, count: int, seed: int = 1) -> Floats:
    """Return queries `[count, 128]` that are other pictures of classes, chosen at random."""
    random = np.random.default_rng(seed)
    chosen = vectors[random.integers(len(vectors), size=count)]
    noise = _unit(random.standard_normal((count, DIMENSION), np.float32) * np.sqrt(_SPREAD))
    far = _SECOND * np.exp(random.normal(0, 0.45, (count, 1))).astype(np.float32)
    return _unit(chosen + far * noise)


def uniform(count: int, seed: int = 0) -> Floats:
    """Return vectors `[count, 128]` spread evenly over the sphere."""
    random = np.random.default_rng(seed)
    return _unit(random.standard_normal((count, DIMENSION), np.float32))


def near_duplicates(vectors: Floats, count: int, seed: int = 1) -> Floats:
    """Return queries `[count, 128]`, each at 0.2 from a vector chosen at random."""
    random = np.random.default_rng(seed)
    noise = _unit(random.standard_normal((count, DIMENSION), np.float32))
    return _unit(vectors[random.integers(len(vectors), size=count)] + np.float32(0.2) * noise)


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)
