"""The pages' plots: light grids, two colors, and each answers one question."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from exemplar_encoder import Calibration
from exemplar_encoder.arrays import Floats
from exemplar_trainer.evaluation.open_set import OpenSet
from exemplar_trainer.reports.render import png_uri

_BLUE, _ORANGE, _GRAY = "#2563eb", "#ea580c", "#9ca3af"

_TYPICAL_GALLERY = 20


@dataclass(frozen=True)
class Plot:
    """A plot for a page: its name, the words below it, and the picture as a data URI."""

    name: str
    caption: str
    uri: str


def training_curve(records: Sequence[dict[str, float]]) -> Plot:
    """Plot loss by step; `records` as the run's `training.jsonl` holds them."""
    figure, axes = _figure()
    axes.plot([record["step"] for record in records], [record["loss"] for record in records], color=_BLUE)
    axes.set(xlabel="step", ylabel="loss")
    return _plot("Training loss by step", "Training loss", figure)


def distance_histogram(genuine: Floats, impostor: Floats, calibration: Calibration) -> Plot:
    """Plot distances of pairs of one class and of two, with the threshold of a gallery of 20 classes."""
    figure, axes = _figure()
    bins = np.linspace(0.0, float(max(genuine.max(), impostor.max())), 81).tolist()
    axes.hist(genuine, bins=bins, density=True, color=_BLUE, alpha=0.7, label="same class")
    axes.hist(impostor, bins=bins, density=True, color=_ORANGE, alpha=0.6, label="different classes")
    rate = calibration.default_false_accept_rate
    spacing = calibration.spacing(_TYPICAL_GALLERY, None)
    threshold = calibration.threshold(rate, _TYPICAL_GALLERY, spacing)
    label = f"threshold, {rate:.0%} in {_TYPICAL_GALLERY} classes"
    axes.axvline(threshold, color="black", linestyle="--", label=label)
    axes.set(xlabel="distance", ylabel="density")
    axes.legend(framealpha=0.9, edgecolor="none")  # the threshold may lie behind it
    return _plot("Histogram of distances", "Distances between two images of the classes measured on", figure)


def reliability_diagram(found: OpenSet, name: str = "Reliability") -> Plot:
    """Plot stated probability against the share that was right."""
    figure, axes = _figure()
    axes.plot([0, 1], [0, 1], color=_GRAY, linestyle="--", label="perfect")
    stated, right, share = zip(*found.bins, strict=True)
    axes.plot(stated, right, color=_BLUE, marker="o", label="measured")
    axes.bar(stated, share, width=0.05, color=_BLUE, alpha=0.2, label="share of queries")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="probability stated", ylabel="share right")
    axes.legend(frameon=False)
    return _plot(name, f"{name} (calibration error {found.calibration_error:.3f})", figure)


def open_set_curves(found: OpenSet) -> Plot:
    """Plot known queries accepted, and named rightly, against unknown ones accepted."""
    figure, axes = _figure()
    axes.plot([0, 1], [0, 1], color=_GRAY, linestyle="--", label="chance")
    for points, color, label in (
        (found.roc, _BLUE, f"accepted (AUROC {found.auroc:.3f})"),
        (found.oscr_curve, _ORANGE, f"and named rightly (OSCR {found.oscr:.3f})"),
    ):
        axes.plot(*zip(*points, strict=True), color=color, label=label)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="unknown queries accepted", ylabel="known queries")
    axes.legend(frameon=False)
    return _plot("ROC and OSCR", "Known or unknown: ROC and OSCR", figure)


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.6, 3.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e5e7eb")
    axes.set_axisbelow(True)
    return figure, axes


def _plot(name: str, caption: str, figure: Figure) -> Plot:
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return Plot(name, caption, png_uri(stream.getvalue()))
