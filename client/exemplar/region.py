"""A box in an image: the part that is meant, where a picture shows several things."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self


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

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `LEFT,TOP,WIDTH,HEIGHT`: four whole numbers of pixels, or four percentages, each with its `%`.

        Raises:
            ValueError: It is neither; the message is a sentence.
        """
        numbers = [number.strip() for number in text.split(",")]
        shares = [number.removesuffix("%") for number in numbers if number.endswith("%")]
        try:
            if len(shares) == 4:
                # By the exponent, not by a division, so that 33.3% is the float 0.333.
                left, top, width, height = (float(f"{share}e-2") for share in shares)
                return cls(left, top, width, height, "fraction")
            left, top, width, height = (int(number) for number in numbers)
            return cls(left, top, width, height)
        except ValueError:
            raise ValueError(
                f"a region is LEFT,TOP,WIDTH,HEIGHT in pixels (10,20,300,200) or in percent of the picture "
                f"(10%,20%,50%,50%); this is {text!r}"
            ) from None
