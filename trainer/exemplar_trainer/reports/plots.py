"""The report's plots, as PNG images that a page can hold.

Light grids, two colors, a caption in plain words: each plot answers one question.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from exemplar_encoder import Calibration
from exemplar_encoder.arrays import Floats

_BLUE, _ORANGE, _GRAY = "#2563eb", "#ea580c", "#9ca3af"


def training_curve(records: Sequence[dict[str, float]]) -> str:
    """Loss by step, as a data URI; `records` as the run's `training.jsonl` holds them."""
    figure, axes = _figure()
    axes.plot([record["step"] for record in records], [record["loss"] for record in records], color=_BLUE)
    axes.set(xlabel="step", ylabel="loss", title="Training loss")
    return _data_uri(figure)


def distance_histogram(genuine: Floats, impostor: Floats, calibration: Calibration) -> str:
    """Distances of pairs of one class and of two, with the threshold for 20 classes, as a data URI."""
    figure, axes = _figure()
    bins = np.linspace(0.0, float(max(genuine.max(), impostor.max())), 81).tolist()
    axes.hist(genuine, bins=bins, density=True, color=_BLUE, alpha=0.7, label="same class")
    axes.hist(impostor, bins=bins, density=True, color=_ORANGE, alpha=0.6, label="different classes")
    rate = calibration.default_false_accept_rate
    threshold = calibration.threshold(rate, 20, calibration.spacing(20, None))
    axes.axvline(threshold, color="black", linestyle="--", label=f"threshold, {rate:.0%} in 20 classes")
    axes.set(xlabel="distance", ylabel="density", title="Distances between images of classes never seen")
    axes.legend(frameon=False)
    return _data_uri(figure)


def reliability_diagram(bins: Sequence[tuple[float, float, float]], error: float) -> str:
    """Stated probability against the share that was right, as a data URI.

    Args:
        bins: for each: mean probability, share right, share of all queries.
        error: the expected calibration error.
    """
    figure, axes = _figure()
    axes.plot([0, 1], [0, 1], color=_GRAY, linestyle="--", label="perfect")
    stated, right, share = zip(*bins, strict=True)
    axes.plot(stated, right, color=_BLUE, marker="o", label="measured")
    axes.bar(stated, share, width=0.05, color=_BLUE, alpha=0.2, label="share of queries")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="probability stated", ylabel="share right")
    axes.set_title(f"Reliability (calibration error {error:.3f})")
    axes.legend(frameon=False)
    return _data_uri(figure)


def open_set_curves(
    roc: Sequence[tuple[float, float]], auroc: float, correct: Sequence[tuple[float, float]], oscr: float
) -> str:
    """Known queries accepted, and named rightly, against unknown ones accepted, as a data URI.

    Args:
        roc: points (unknown accepted, known accepted), as shares.
        auroc: the area under them.
        correct: points (unknown accepted, known accepted and named rightly).
        oscr: the area under them.
    """
    figure, axes = _figure()
    axes.plot([0, 1], [0, 1], color=_GRAY, linestyle="--", label="chance")
    for points, color, label in (
        (roc, _BLUE, f"accepted (AUROC {auroc:.3f})"),
        (correct, _ORANGE, f"and named rightly (OSCR {oscr:.3f})"),
    ):
        axes.plot(*zip(*points, strict=True), color=color, label=label)
    axes.set(
        xlim=(0, 1), ylim=(0, 1), xlabel="unknown queries accepted", ylabel="known queries", title="Known or unknown?"
    )
    axes.legend(frameon=False)
    return _data_uri(figure)


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.6, 3.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e5e7eb")
    axes.set_axisbelow(True)
    return figure, axes


def _data_uri(figure: Figure) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
