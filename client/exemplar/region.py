"""A box in an image: the part that is meant, where a picture shows several things."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Region:
    """A box, measured from the upper left corner of the upright image (after EXIF orientation).

    Attributes:
        left: How far right of the image's left edge the box begins.
        top: How far below the image's upper edge it begins.
        width: How wide it is.
        height: How high it is.
        unit: `pixel`, with whole numbers, or `fraction` of the image's width and height, 0 to 1.
    """

    left: float
    top: float
    width: float
    height: float
    unit: Literal["pixel", "fraction"] = "pixel"

    def __post_init__(self) -> None:
        """Refuse (`ValueError`) a unit that there is not, and parts of pixels; the server judges the rest."""
        numbers = (self.left, self.top, self.width, self.height)
        if self.unit not in ("pixel", "fraction"):
            raise ValueError(f"a region's unit is pixel or fraction, not {self.unit!r}")
        if self.unit == "pixel" and any(number % 1 != 0 for number in numbers):
            raise ValueError(f"a region in pixels takes whole numbers, not {numbers}")
