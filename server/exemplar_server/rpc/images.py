"""Images and their regions as messages, and as they come from a caller."""

from __future__ import annotations

from collections.abc import Sequence

from exemplar.v1 import resources_pb2 as pb
from exemplar_encoder import EncodedImage, Region, RegionError
from exemplar_server.errors import InvalidArgumentError, invalid_field

MAX_EXEMPLARS = 16


def image_message(content: bytes, region: Region | None) -> pb.Image:
    """Return an image as it was sent."""
    return pb.Image(content=content, region=region_message(region))


def region_message(region: Region | None) -> pb.Region | None:
    """Return a region in the unit in which it was given."""
    if region is None:
        return None
    if region.unit == "pixel":
        numbers = (int(number) for number in (region.left, region.top, region.width, region.height))
        left, top, width, height = numbers
        return pb.Region(pixels=pb.PixelBox(left=left, top=top, width=width, height=height))
    box = pb.FractionBox(left=region.left, top=region.top, width=region.width, height=region.height)
    return pb.Region(fractions=box)


def parse_images(messages: Sequence[pb.Image]) -> list[EncodedImage]:
    """Read the images of a class."""
    if len(messages) > MAX_EXEMPLARS:  # before the work of reading any number of them
        raise invalid_field(
            "images", f"there are {len(messages):,}; no gallery takes more than {MAX_EXEMPLARS} a class"
        )
    return [parse_image(f"images[{index}]", image) for index, image in enumerate(messages)]


def parse_image(field: str, message: pb.Image) -> EncodedImage:
    """Read an image; whether its content is one, decoding will tell.

    Args:
        field: the name of the message in the request.
        message: the message.

    Raises:
        InvalidArgumentError: its region is one that no image has.
    """
    if not message.HasField("region"):
        return EncodedImage(message.content)
    box = message.region.WhichOneof("box")
    try:
        if box is None:
            raise RegionError("it has no box; give one in pixels or in fractions, or leave the region out")
        of = message.region.pixels if box == "pixels" else message.region.fractions
        region = Region(of.left, of.top, of.width, of.height, "pixel" if box == "pixels" else "fraction")
    except RegionError as error:
        where = f"{field}.region"
        raise InvalidArgumentError("IMAGE_BAD_REGION", f"{where}: {error}", {"field": where}) from error
    return EncodedImage(message.content, region)
