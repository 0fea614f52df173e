"""Images and regions as callers send them, and as they come back."""

from __future__ import annotations

import math

import pytest

from exemplar.v1 import resources_pb2 as pb
from exemplar_encoder import EncodedImage, Region
from exemplar_server.errors import InvalidArgumentError
from exemplar_server.rpc.images import image_message, parse_image


@pytest.mark.parametrize(
    "region",
    [
        None,
        Region(0, 0, 1, 1),
        Region(3, 4, 5, 6),
        Region(0.0, 0.0, 1.0, 1.0, "fraction"),
        Region(0.1, 0.2, 1 / 3, 0.7, "fraction"),
    ],
)
def test_an_image_comes_back_as_it_was_sent(region: Region | None) -> None:
    message = image_message(b"content", region)
    assert parse_image("image", message) == EncodedImage(b"content", region)
    again = pb.Image.FromString(message.SerializeToString())
    assert parse_image("image", again).sha256() == EncodedImage(b"content", region).sha256()


def pixels(left: int, top: int, width: int, height: int) -> pb.Region:
    return pb.Region(pixels=pb.PixelBox(left=left, top=top, width=width, height=height))


def fractions(left: float, top: float, width: float, height: float) -> pb.Region:
    return pb.Region(fractions=pb.FractionBox(left=left, top=top, width=width, height=height))


@pytest.mark.parametrize(
    "region",
    [
        pb.Region(),
        pixels(-1, 0, 5, 5),
        pixels(0, -1, 5, 5),
        pixels(0, 0, 0, 5),
        pixels(0, 0, 5, -5),
        fractions(-0.1, 0, 0.5, 0.5),
        fractions(0, 0, 0, 1),
        fractions(0.6, 0, 0.5, 1),
        fractions(0, 0.6, 1, 0.5),
        fractions(math.nan, 0, 1, 1),
        fractions(0, 0, math.inf, 1),
    ],
)
def test_a_region_that_no_image_has_is_refused_naming_the_field(region: pb.Region) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^query\.image\.region: ") as refused:
        parse_image("query.image", pb.Image(content=b"content", region=region))
    assert refused.value.reason == "IMAGE_BAD_REGION"
    assert refused.value.metadata == {"field": "query.image.region"}
