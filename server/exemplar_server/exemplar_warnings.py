"""Signs that an exemplar will mislead, by simple measures: of the image itself, and of the classes near it.

An image is judged as the network sees it: at the network's input size, without the margin that fills up its shape.

- BLANK: its gray values deviate by less than 4 of 255, which is noise; or less than 1 % of it stands out from the
  rest, by a quarter of what stands out most, which are specks.
- TINY: it, or the part of it that is meant, had to be enlarged more than four times to fill the input.
- BLURRED: the energy of its second differences (a discrete Laplacian) is below 5 % of its variance. The ratio does
  not change with brightness or contrast; a Gaussian blur of two input pixels falls below it. What was enlarged has no
  detail between its own pixels, so it is judged at its own size.
- DUPLICATE: another class has the very same exemplar, or lies within three tenths of the threshold.
- TOO_CLOSE: another class lies within the threshold, so a picture of the one can be named as the other. Of classes
  that differ, about as many are told to be too close as the gallery's false-accept rate lets strangers pass.

The shares were chosen on one half of the pictures of `benchmarks/exemplar_advice.py`, to find what is plainly bad and
leave nearly every good picture alone (of second pictures of a class, up to two in a hundred may pass for a
near-duplicate of the first), and are reported on the other. What being tiny costs is at its constant.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from PIL import Image

from exemplar_encoder import PreparedImage
from exemplar_encoder.arrays import Floats

_BLANK_DEVIATION = 4.0
_SPECKS_SHARE, _STANDS_OUT = 0.01, 0.25
_BLURRED_ENERGY = 0.05
_DUPLICATE_SHARE = 0.3

# How many queries are named right, of 20 classes, when the exemplars alone were shrunk, by how much these had to be
# enlarged again: rendered objects in EfficientNet-Lite0, 224 pixels, 75 % up to 1.8 times, 70 % at 2.3, 63 % at 3.5,
# 54 % at 4.7 and 17 % at 7; emoji of 72 pixels in the same 74 % at 3.1 and at 3.5, 71 % at 4.7 and 53 % at 7;
# drawings of held-out alphabets in the Omniglot model, 64 pixels, 89 % up to 1.3 times, 87 % at 2.1, 78 % at 3.6,
# 71 % at 4.3 and 37 % at 7. Four times costs about a tenth, and leaves pictures alone that are small and fine.
_MOST_ENLARGED = 4.0


class WarningKind(StrEnum):
    """A kind of trouble."""

    BLANK = "BLANK"
    TINY = "TINY"
    BLURRED = "BLURRED"
    DUPLICATE = "DUPLICATE"
    TOO_CLOSE = "TOO_CLOSE"


@dataclass(frozen=True, slots=True)
class ExemplarWarning:
    """One trouble with an exemplar; the other class and the distance to it for DUPLICATE and TOO_CLOSE."""

    kind: WarningKind
    message: str
    other_class_id: str = ""
    distance: float | None = None


def image_warnings(image: PreparedImage) -> list[ExemplarWarning]:
    """Judge an image by itself."""
    if image.enlargement > _MOST_ENLARGED:
        height, width = image.pixels.shape[:2]
        larger = math.ceil(10 * image.enlargement / _MOST_ENLARGED) / 10
        message = (
            f"the image is {image.width} x {image.height} pixels, and what it shows is enlarged "
            f"{image.enlargement:.1f} times, to the {width} x {height} that the model looks at; "
            f"use a picture at least {larger:g} times as large"
        )
        return [ExemplarWarning(WarningKind.TINY, message)]
    gray = _gray(image)
    if float(gray.std()) < _BLANK_DEVIATION or _standing_out(gray) < _SPECKS_SHARE:
        return [ExemplarWarning(WarningKind.BLANK, "the image shows next to nothing; use a picture with contrast")]
    if _detail(_at_own_size(gray, image.enlargement)) < _BLURRED_ENERGY:
        return [ExemplarWarning(WarningKind.BLURRED, "the image has next to no fine detail; use a sharper picture")]
    return []


def neighbor_warnings(
    twin: tuple[str, float] | None, neighbors: Sequence[tuple[str, float]], threshold: float
) -> list[ExemplarWarning]:
    """Judge an exemplar by the other classes.

    Args:
        twin: id of another class that has the very same exemplar, and its distance; None for none.
        neighbors: ids of other classes and their distances, nearest first.
        threshold: the distance within which a query is accepted.
    """
    if twin is not None:
        message = f"class {twin[0]!r} has the very same image; use another picture for one of the two"
        return [ExemplarWarning(WarningKind.DUPLICATE, message, *twin)]
    if not neighbors or neighbors[0][1] >= threshold:
        return []
    other, distance = neighbors[0]
    if distance < _DUPLICATE_SHARE * threshold:
        message = f"class {other!r} has nearly the same image; use another picture for one of the two"
        return [ExemplarWarning(WarningKind.DUPLICATE, message, other, distance)]
    message = (
        f"class {other!r} is at distance {distance:.3f}, within the threshold of {threshold:.3f}: pictures of the "
        "one may be named as the other; use a more telling picture"
    )
    return [ExemplarWarning(WarningKind.TOO_CLOSE, message, other, distance)]


def _gray(image: PreparedImage) -> Floats:
    """Return float32 `[h, w]` of the part of the input that shows the image, without the background around it."""
    left, top, right, bottom = image.shown
    inner = image.pixels[top:bottom, left:right]
    return np.asarray(inner.mean(axis=2), dtype=np.float32)


def _standing_out(gray: Floats) -> float:
    """Return the share of an image, not all of one gray, that stands out from what most of it is."""
    distance = np.abs(gray - np.median(gray))
    return float((distance > _STANDS_OUT * distance.max()).mean())


def _at_own_size(gray: Floats, enlargement: float) -> Floats:
    """Undo an enlargement; what was shrunk stays as the network sees it."""
    if enlargement <= 1:
        return gray
    height, width = (max(1, round(side / enlargement)) for side in gray.shape)
    return np.asarray(Image.fromarray(gray).resize((width, height), Image.Resampling.BOX))


def _detail(gray: Floats) -> float:
    """Return the mean square of second differences relative to the variance; about 20 for noise, 0 for a slope."""
    if min(gray.shape) < 3:
        return float("inf")
    laplacian = gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:] - 4 * gray[1:-1, 1:-1]
    return float(np.square(laplacian).mean() / gray.var())
