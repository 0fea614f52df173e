"""A part of an image: where it lies, what it shows, and what it is called."""

from __future__ import annotations

import hashlib
import io
import math
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from exemplar_encoder import (
    EncodedImage,
    ImageError,
    ImageLimits,
    ImageProblem,
    Region,
    RegionError,
    decode,
    load_encoder,
)
from exemplar_encoder.arrays import Pixels
from tests.encoder.test_decode import UPRIGHT

WIDTH, HEIGHT = 40, 30


def numbered() -> Pixels:
    """Return an image whose every pixel tells its place: red is the column, green the row."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    pixels[..., 0] = np.arange(WIDTH)
    pixels[..., 1] = np.arange(HEIGHT)[:, None]
    return pixels


def encode(pixels: Pixels, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", **options)
    return stream.getvalue()


def shown(content: bytes, region: Region) -> Pixels:
    return np.asarray(decode(content, region=region).pixels)


def refusal(content: bytes, region: Region, limits: ImageLimits | None = None) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode(content, limits, region=region)
    return caught.value


# The box


def test_pixels_are_counted_from_the_upper_left_corner() -> None:
    part = shown(encode(numbered()), Region(5, 7, 20, 10))
    assert np.array_equal(part, numbered()[7:17, 5:25])


def test_fractions_are_of_width_and_height() -> None:
    part = shown(encode(numbered()), Region(0.25, 0.1, 0.5, 0.6, "fraction"))
    assert np.array_equal(part, numbered()[3:21, 10:30])


@pytest.mark.parametrize("region", [Region(0, 0, WIDTH, HEIGHT), Region(0, 0, 1, 1, "fraction")])
def test_all_of_an_image_may_be_meant(region: Region) -> None:
    assert np.array_equal(shown(encode(numbered()), region), numbered())


def test_the_sizes_are_those_of_the_whole_image() -> None:
    image = decode(encode(numbered()), region=Region(5, 7, 20, 10))
    assert (image.width, image.height, image.pixels.size) == (WIDTH, HEIGHT, (20, 10))


@pytest.mark.parametrize(
    ("region", "box"),
    [
        (Region(0.09, 0, 0.5, 1, "fraction"), (1, 0, 6, 10)),  # 0.9 and 5.9
        (Region(0.04, 0, 0.5, 1, "fraction"), (0, 0, 5, 10)),  # 0.4 and 5.4
        (Region(0, 0.26, 1, 0.26, "fraction"), (0, 3, 10, 5)),  # 2.6 and 5.2
    ],
)
def test_edges_are_rounded_to_the_nearest_pixel(region: Region, box: tuple[int, int, int, int]) -> None:
    assert region.within(10, 10) == box


@given(st.data())
def test_a_box_said_in_fractions_is_the_box_said_in_pixels(data: st.DataObject) -> None:
    width, height = (data.draw(st.integers(1, 20_000)) for _ in range(2))
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    across, down = data.draw(st.integers(1, width - left)), data.draw(st.integers(1, height - top))
    pixels = Region(left, top, across, down)
    fractions = Region(left / width, top / height, across / width, down / height, "fraction")
    assert fractions.within(width, height) == pixels.within(width, height)


@given(st.floats(0, 1), st.integers(1, 5000))
def test_two_regions_side_by_side_share_no_pixel_and_miss_none(share: float, width: int) -> None:
    if round(share * width) in (0, width):
        return  # one of them is less than a pixel
    first, second = Region(0, 0, share, 1, "fraction"), Region(share, 0, 1 - share, 1, "fraction")
    assert first.within(width, 1)[2] == second.within(width, 1)[0]
    assert second.within(width, 1)[2] == width


# Orientation: the caller sees an upright image, and so means a part of that.

TURNED_BACK = {6: 8, 8: 6}  # by the orientation that turns the other way; all others undo themselves


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("region", [Region(5, 7, 20, 10), Region(0.125, 0.1, 0.5, 0.5, "fraction")])
def test_a_region_is_of_the_upright_image(orientation: int, region: Region) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(UPRIGHT[TURNED_BACK.get(orientation, orientation)](numbered()))
    left, top, right, bottom = region.within(WIDTH, HEIGHT)
    image = decode(encode(stored, exif=exif), region=region)
    assert (image.width, image.height) == (WIDTH, HEIGHT)
    assert np.array_equal(np.asarray(image.pixels), numbered()[top:bottom, left:right])


# Transparency and palettes are those of the whole image.


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_part_is_background(kind: str) -> None:
    image = Image.new("P", (32, 16))
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.paste(1, (16, 0, 32, 16))
    stream = io.BytesIO()
    image.save(stream, kind, transparency=1)
    blue = (10, 20, 200)
    part = decode(stream.getvalue(), background=blue, region=Region(8, 0, 16, 16))
    colors = np.asarray(part.pixels.convert("RGB"))
    assert (colors[:, :8] == 0).all()
    assert (colors[:, 8:] == blue).all()


def test_sixteen_bits_are_scaled_as_the_whole_image_s_are() -> None:
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    stream = io.BytesIO()
    Image.fromarray(ramp).save(stream, "PNG")
    part = shown(stream.getvalue(), Region(2, 3, 9, 8))
    assert np.array_equal(part, np.asarray(decode(stream.getvalue()).pixels)[3:11, 2:11])


def test_the_dark_part_of_a_sixteen_bit_image_stays_dark() -> None:
    halves = np.full((16, 32), 200, dtype=np.uint16)  # nearly black, of 65535
    halves[:, 16:] = 60_000
    stream = io.BytesIO()
    Image.fromarray(halves).save(stream, "PNG")
    assert shown(stream.getvalue(), Region(0, 0, 16, 16)).max() == 0


# Refusals


@pytest.mark.parametrize(
    "region", [Region(21, 0, 20, 10), Region(0, 25, 10, 10), Region(100, 100, 10, 10), Region(0, 0, 2**31 - 1, 10)]
)
def test_a_region_beyond_the_image_is_refused_with_both_sizes(region: Region) -> None:
    error = refusal(encode(numbered()), region)
    assert error.reason is ImageProblem.BAD_REGION
    assert str(region) in str(error)
    assert "40 x 30" in str(error)


def test_a_region_of_less_than_a_pixel_is_refused() -> None:
    error = refusal(encode(numbered()), Region(0.5, 0.5, 0.01, 0.5, "fraction"))
    assert error.reason is ImageProblem.BAD_REGION
    assert "less than a pixel" in str(error)


@pytest.mark.parametrize(("width", "height"), [(7, 20), (20, 7)])
def test_a_region_below_the_least_side_is_refused(width: int, height: int) -> None:
    error = refusal(encode(numbered()), Region(0, 0, width, height))
    assert error.reason is ImageProblem.TOO_SMALL
    assert f"{width} x {height}" in str(error)
    assert "8" in str(error)
    assert shown(encode(numbered()), Region(0, 0, 8, 8)).shape == (8, 8, 3)


def test_limits_on_the_whole_image_hold_for_its_parts() -> None:
    error = refusal(encode(numbered()), Region(0, 0, 10, 10), ImageLimits(max_pixels=WIDTH * HEIGHT - 1))
    assert error.reason is ImageProblem.TOO_LARGE


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("unit", ["pixel", "fraction"])
def test_a_number_that_is_none_is_refused(number: float, place: int, unit: Literal["pixel", "fraction"]) -> None:
    left, top, width, height = (number if index == place else 1.0 for index in range(4))
    with pytest.raises(RegionError, match="must be finite"):
        Region(left, top, width, height, unit)


@pytest.mark.parametrize("numbers", [(-1, 0, 1, 1), (0, -1, 1, 1), (0, 0, 0, 1), (0, 0, 1, 0), (0, 0, 1, -1)])
def test_what_is_no_box_is_refused(numbers: tuple[int, int, int, int]) -> None:
    with pytest.raises(RegionError, match="has a width and a height"):
        Region(*numbers)
    with pytest.raises(RegionError, match="has a width and a height"):
        Region(*numbers, "fraction")


@pytest.mark.parametrize("numbers", [(0.6, 0, 0.5, 1), (0, 0.6, 1, 0.5), (0, 0, 1.1, 1), (0, 0, 1, 2)])
def test_fractions_end_at_one(numbers: tuple[float, float, float, float]) -> None:
    with pytest.raises(RegionError, match="ends at 1 or before"):
        Region(*numbers, "fraction")


def test_a_part_of_a_pixel_is_no_pixel() -> None:
    with pytest.raises(RegionError, match=r"whole numbers, not \(0, 0, 1\.5, 2\)"):
        Region(0, 0, 1.5, 2)


# Names

pixel_regions = st.builds(
    Region, st.integers(0, 2**31), st.integers(0, 2**31), st.integers(1, 2**31), st.integers(1, 2**31)
)


@st.composite
def fraction_regions(draw: st.DrawFn) -> Region:
    left, top = draw(st.floats(0, 1, exclude_max=True)), draw(st.floats(0, 1, exclude_max=True))
    width = draw(st.floats(0, 1 - left, exclude_min=True))
    height = draw(st.floats(0, 1 - top, exclude_min=True))
    return Region(left, top, width, height, "fraction")


@given(pixel_regions | fraction_regions())
def test_a_region_is_read_back_from_its_text(region: Region) -> None:
    assert Region.parse(str(region)) == region
    assert str(Region.parse(str(region))) == str(region)


@given(fraction_regions())
def test_the_text_of_a_fraction_is_the_shortest_decimal_of_the_same_number(region: Region) -> None:
    for number, text in zip(
        (region.left, region.top, region.width, region.height), str(region).partition(":")[2].split(","), strict=True
    ):
        assert set(text) <= set("0123456789.")
        digits = text.replace(".", "").lstrip("0")
        assert float(text) == number
        assert digits == "" or len(digits.rstrip("0")) <= 17
        # One digit less is another number.
        assert len(digits) <= 1 or float(text[:-1]) != number or text.endswith("0")


@pytest.mark.parametrize(
    ("region", "text"),
    [
        (Region(0, 16, 64, 32), "#xywh=pixel:0,16,64,32"),
        (Region(0.0, 16.0, 64.0, 32.0), "#xywh=pixel:0,16,64,32"),
        (Region(0, 0, 1, 1, "fraction"), "#xywh=fraction:0,0,1,1"),
        (Region(-0.0, 0.1, 1 / 3, 0.5, "fraction"), "#xywh=fraction:0,0.1,0.3333333333333333,0.5"),
        (Region(0.00001, 0, 0.0000001, 1, "fraction"), "#xywh=fraction:0.00001,0,0.0000001,1"),
    ],
)
def test_equal_regions_have_one_text_that_any_language_can_write(region: Region, text: str) -> None:
    assert str(region) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "#xywh=",
        "#xywh=pixel:",
        "#xywh=pixel:1,2,3",
        "#xywh=pixel:1,2,3,4,5",
        "#xywh=pixel:a,b,c,d",
        "#xywh=pixel:0,0,0.5,1",
        "#xywh=pixel:0,0,1e999,1",
        "#xywh=percent:0,0,50,50",
        "#xywh=fraction:0,0,nan,1",
    ],
)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(RegionError):
        Region.parse(text)


@given(st.sampled_from(["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"]), pixel_regions | fraction_regions())
def test_any_region_of_any_format_is_cut_out_or_refused(kind: str, region: Region) -> None:
    stream = io.BytesIO()
    Image.fromarray(numbered()).save(stream, kind)
    try:
        left, top, right, bottom = region.within(WIDTH, HEIGHT)
    except RegionError:
        assert refusal(stream.getvalue(), region).reason is ImageProblem.BAD_REGION
        return
    if min(right - left, bottom - top) < ImageLimits().min_side:
        assert refusal(stream.getvalue(), region).reason is ImageProblem.TOO_SMALL
    else:
        assert decode(stream.getvalue(), region=region).pixels.size == (right - left, bottom - top)


def test_an_image_is_named_by_its_bytes() -> None:
    content = encode(numbered())
    assert EncodedImage(content).sha256() == hashlib.sha256(content).hexdigest()


def test_a_part_is_named_by_the_bytes_and_the_region_s_text() -> None:
    content, region = encode(numbered()), Region(0.25, 0, 0.5, 1, "fraction")
    expected = hashlib.sha256(content + b"#xywh=fraction:0.25,0,0.5,1").hexdigest()
    assert EncodedImage(content, region).sha256() == expected
    others = [None, Region(10, 0, 20, 30), Region(0.25, 0, 0.5, 0.9, "fraction")]
    assert len({EncodedImage(content, other).sha256() for other in [region, *others]}) == 4


# The encoder


def test_a_part_is_prepared_as_an_image_of_it_alone(tiny_bundle: Path) -> None:
    encoder = load_encoder(tiny_bundle, engine="litert", threads=1)
    page = np.full((80, 120, 3), 255, dtype=np.uint8)
    page[10:30, 20:40] = 0
    page[45:70, 80:84] = 0
    part = encoder.prepare(EncodedImage(encode(page), Region(70, 40, 50, 40)))
    alone = encoder.prepare(EncodedImage(encode(page[40:80, 70:120])))
    assert np.array_equal(part.pixels, alone.pixels)
    assert part.shown == alone.shown
    assert (part.width, part.height, part.format) == (120, 80, "PNG")
    assert part.sha256 == EncodedImage(encode(page), Region(70, 40, 50, 40)).sha256() != alone.sha256
