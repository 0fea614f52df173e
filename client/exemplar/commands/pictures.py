"""Pictures as the command line names them: files, and the parts of them that `--region` means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from exemplar import Part, Region
from exemplar.images import Image


def parse_region(text: str | Region) -> Region:
    """Read `LEFT,TOP,WIDTH,HEIGHT`: four whole numbers of pixels, or four percentages, each with its `%`.

    Raises:
        typer.BadParameter: It is neither.
    """
    if isinstance(text, Region):  # typer parses again what it has parsed
        return text
    numbers = [number.strip() for number in text.split(",")]
    shares = [number.removesuffix("%") for number in numbers if number.endswith("%")]
    try:
        if len(shares) == 4:
            # By the exponent, not by a division, so that 33.3% is the float 0.333.
            left, top, width, height = (float(f"{share}e-2") for share in shares)
            return Region(left, top, width, height, "fraction")
        left, top, width, height = (int(number) for number in numbers)
        return Region(left, top, width, height)
    except ValueError:
        raise typer.BadParameter(
            f"a region is LEFT,TOP,WIDTH,HEIGHT in pixels (10,20,300,200) or in percent of the picture "
            f"(10%,20%,50%,50%); this is {text!r}"
        ) from None


def region_option(help: str) -> Any:
    """Return the option `--region` with its help."""
    return typer.Option(
        "--region", parser=parse_region, metavar="LEFT,TOP,WIDTH,HEIGHT", help=help, show_default=False
    )


Regions = Annotated[
    list[Region] | None,
    region_option(
        "The part of each picture that is meant: in pixels, or with a % to each number in percent; may be repeated."
    ),
]


@dataclass(frozen=True)
class Picture:
    """A file, and the part of it that is meant; None for the whole."""

    file: str
    region: Region | None = None

    def image(self) -> Image:
        """Return it as the client takes it."""
        return Part(self.file, self.region) if self.region else self.file

    def __str__(self) -> str:
        """Name it for people."""
        return f"{self.file} {written(self.region)}" if self.region else self.file


def pictures(files: Sequence[str], regions: Sequence[Region | None] | None) -> list[Picture]:
    """Return every region of every file, or the files whole where there is no region."""
    return [Picture(file, region) for file in files for region in (regions or [None])]


def parts(files: Sequence[str], regions: Sequence[Region | None] | None) -> list[Image]:
    """Return the same as the client takes it."""
    return [picture.image() for picture in pictures(files, regions)]


def written(region: Region) -> str:
    """Write a region as `--region` takes it."""
    numbers = (region.left, region.top, region.width, region.height)
    if region.unit == "fraction":
        return ",".join(f"{100 * number:.6g}%" for number in numbers)
    return ",".join(f"{number:g}" for number in numbers)
