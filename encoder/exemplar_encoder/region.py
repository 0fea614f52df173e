"""An encoded image, or a part of one: what a caller sends, and what names it.

A region is written like a media fragment (W3C, "Media Fragments URI 1.0"), so that a part of an image has a name that
any client can compute.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

Box = tuple[int, int, int, int]
"""`(left, top, right, bottom)` in whole pixels."""

_PREFIX = "#xywh="


class RegionError(ValueError):
    """A region that no image has, or not this one; the message says why."""


@dataclass(frozen=True, slots=True)
class Region:
    """A box from the upper left corner of an upright image, in pixels or in fractions of its width and height."""

    left: float
    top: float
    width: float
    height: float
    unit: Literal["pixel", "fraction"] = "pixel"

    def __post_init__(self) -> None:
        """Refuse what is no box in any image, with a `RegionError`."""
        numbers = (self.left, self.top, self.width, self.height)
        if not all(math.isfinite(number) for number in numbers):
            raise RegionError(f"a region's numbers must be finite, not {numbers}")
        if self.left < 0 or self.top < 0 or self.width <= 0 or self.height <= 0:
            raise RegionError(f"a region begins at 0 or more and has a width and a height; this one is {numbers}")
        if self.unit == "fraction" and (self.left + self.width > 1 or self.top + self.height > 1):
            raise RegionError(f"a region in fractions ends at 1 or before; this one is {numbers}")
        if self.unit == "pixel" and any(number != int(number) for number in numbers):
            raise RegionError(f"a region in pixels takes whole numbers, not {numbers}")

    def __str__(self) -> str:
        """Return it as a media fragment, such as `#xywh=pixel:0,16,64,32`; `parse` reads it.

        Equal regions have equal texts: the fewest decimals that give the same number back, and no exponent.
        """
        numbers = (self.left, self.top, self.width, self.height)
        return f"{_PREFIX}{self.unit}:{','.join(map(_written, numbers))}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` wrote.

        Raises:
            RegionError: it is something else.
        """
        unit, _, numbers = text.removeprefix(_PREFIX).partition(":")
        try:
            left, top, width, height = (float(number) for number in numbers.split(","))
        except ValueError:
            raise RegionError(f"{text!r} is no region; write {_PREFIX}pixel:LEFT,TOP,WIDTH,HEIGHT") from None
        if unit not in ("pixel", "fraction"):
            raise RegionError(f"{text!r} is in {unit!r}; a region is in pixel or fraction")
        return cls(left, top, width, height, "pixel" if unit == "pixel" else "fraction")

    def within(self, width: int, height: int) -> Box:
        """Return the box in an image of this size, its edges rounded to the nearest pixel.

        Raises:
            RegionError: it reaches beyond the image, or is less than a pixel of it.
        """
        edges = (self.left, self.top, self.left + self.width, self.top + self.height)
        if self.unit == "fraction":
            edges = (edges[0] * width, edges[1] * height, edges[2] * width, edges[3] * height)
        left, top, right, bottom = (round(edge) for edge in edges)
        if right > width or bottom > height:
            raise RegionError(f"the region {self} reaches beyond the image, which has {width} x {height} pixels")
        if right <= left or bottom <= top:
            raise RegionError(f"the region {self} is less than a pixel of the image, which has {width} x {height}")
        return left, top, right, bottom


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """An image file's content as it was sent, and the part of it that is meant; None for the whole."""

    content: bytes
    region: Region | None = None

    def sha256(self) -> str:
        """Return its name: SHA-256 of the content and of the region's text behind it, in lower-case hexadecimal."""
        digest = hashlib.sha256(self.content)
        if self.region is not None:
            digest.update(str(self.region).encode("ascii"))
        return digest.hexdigest()


def _written(number: float) -> str:
    # Adding 0 makes of a negative zero the other one.
    return np.format_float_positional(number + 0.0, trim="-")
