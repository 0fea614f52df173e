"""What becomes of a threshold when the index is approximate? The false-accept rate asked for against that realized.

An approximate index misses some of the nearest. Gaps look larger than they are, so that thresholds grow; strangers
look farther than they are, so that fewer are accepted. Both are measured against an exact search of the same vectors
(see `benchmarks.vectors`): the calibration was fitted in galleries of at most 162 classes, so what an exact search
realizes here is not what was asked for either.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.results import record
from benchmarks.vectors import DIMENSION, trained_like
from exemplar_encoder import Calibration, DecisionRule
from exemplar_encoder.arrays import Floats
from exemplar_server.store.index.approximate import ApproximateIndex, sample_size
from exemplar_server.store.index.flat import FlatIndex
from exemplar_server.store.index.vector_index import VectorIndex

RATES = 0.05, 0.01
_SAMPLED = 256  # classes whose gaps a gallery measures, as the server does
_CHUNK = 10_000


def main(
    classes: Annotated[list[int] | None, typer.Option(help="Sizes of galleries; repeat it.")] = None,
    bundle: Annotated[Path, typer.Option(help="Whose calibration.")] = Path("models/omniglot-held-out"),
    strangers: Annotated[int, typer.Option(min=100, help="Queries of no enrolled class.")] = 4000,
) -> None:
    """Measure."""
    calibration = Calibration.read(bundle / "calibration.json")
    figures: dict[str, dict[str, float]] = {}
    for count in classes or [100_000, 1_000_000]:
        vectors = trained_like(count)
        queries = trained_like(strangers, seed=99)
        flat = FlatIndex(DIMENSION)
        near = ApproximateIndex.trained(DIMENSION, count, vectors[: sample_size(count)])
        sampled = np.sort(np.random.default_rng(0).choice(count, min(count, _SAMPLED), replace=False))
        for name, index in (("exact", flat), ("approximate", near)):
            for first in range(0, count, _CHUNK):
                part = vectors[first : first + _CHUNK]
                index.put(np.arange(first + 1, first + 1 + len(part), dtype=np.int64), part)
            gaps = np.sort(_nearest(index, vectors[sampled], 2)[:, 1])
            distances = _nearest(index, queries, 1)[:, 0]
            for rate in RATES:
                rule = DecisionRule(calibration, count, gaps, rate)
                figures[f"{count:,} classes, {name}, {rate:.0%}"] = {
                    "spacing": round(rule.spacing, 4),
                    "threshold": round(rule.threshold, 4),
                    "strangers_nearest": round(float(np.median(distances)), 4),
                    "asked": rule.false_accept_rate,
                    "realized": round(float((distances <= rule.threshold).mean()), 4),
                }
            index.close()
    columns = ["gallery, index, rate", "spacing", "threshold", "strangers' nearest, median", "asked", "realized"]
    rows = [[name, *(str(value) for value in found.values())] for name, found in figures.items()]
    record("index_thresholds", f"{strangers:,} strangers; calibration of {bundle}", columns, rows, figures)


def _nearest(index: VectorIndex, queries: Floats, count: int) -> Floats:
    found = [
        np.sort(index.nearest(queries[first : first + 32], count)[1], axis=1)[:, :count]
        for first in range(0, len(queries), 32)
    ]
    return np.concatenate(found)


if __name__ == "__main__":
    typer.run(main)
