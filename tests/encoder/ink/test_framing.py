"""A network that looks at the ink sees the same symbol wherever and however large it was drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from exemplar_encoder import Preprocessing, fitted, preprocess
from exemplar_encoder.ink.framing import ink_box
from exemplar_encoder.preprocess import Framing

WHITE = (255, 255, 255)
INK = Preprocessing(48, 48, 1, resample="bilinear", framing="ink")


def symbol(
    place: tuple[float, float] = (100, 100), size: float = 60, paper: int = 200, mode: str = "L"
) -> Image.Image:
    """Return a ring and a tail, `size` across, its center at `place`."""
    image = Image.new("L", (paper, paper), 255)
    pen = ImageDraw.Draw(image)
    (x, y), half, width = place, size / 2, max(2, round(size / 12))
    pen.ellipse([x - half, y - half, x + half / 2, y + half / 2], outline=0, width=width)
    pen.line([(x, y), (x + half, y + half)], fill=0, width=width)
    return image.convert(mode)


def difference(a: Image.Image, b: Image.Image, spec: Preprocessing = INK) -> float:
    """Return the mean difference of two inputs, as a share of the ink of the first."""
    first, second = (255.0 - preprocess(image, spec) for image in (a, b))
    return float(np.abs(first - second).mean() / first.mean())


@pytest.mark.parametrize("place", [(50, 50), (150, 60), (41, 158)])
def test_the_place_on_the_paper_does_not_matter(place: tuple[int, int]) -> None:
    assert difference(symbol(), symbol(place)) < 0.1


@pytest.mark.parametrize(("size", "paper"), [(36, 200), (90, 200), (120, 200), (60, 400), (600, 2000)])
def test_the_square_grows_with_the_symbol(size: int, paper: int) -> None:
    normal, other = (ink_box(image, WHITE) for image in (symbol(), symbol((paper / 2, paper / 2), size, paper)))
    assert normal is not None
    assert other is not None
    side, grown = normal[2] - normal[0], other[2] - other[0]
    assert grown / side == pytest.approx(max(size / 60, 0.30 * paper / side), rel=0.06)
    assert (other[0] - paper / 2) / grown == pytest.approx((normal[0] - 100) / side, abs=0.05)


def test_proportions_stay_as_they_were_drawn() -> None:
    image = Image.new("L", (200, 200), 255)
    ImageDraw.Draw(image).rectangle([90, 60, 109, 139], fill=0)  # 20 x 80
    ink = preprocess(image, INK)[:, :, 0] < 128
    rows, columns = ink.any(axis=1).sum(), ink.any(axis=0).sum()
    assert rows / columns == pytest.approx(4, abs=0.5)


def test_the_square_goes_round_the_center_of_the_ink() -> None:
    image = Image.new("L", (120, 100), 255)
    image.paste(0, (30, 40, 50, 60))
    box = ink_box(image, WHITE)
    assert box is not None
    left, top, right, bottom = box
    assert ((left + right) / 2, (top + bottom) / 2) == pytest.approx((40, 50))
    assert right - left == pytest.approx(bottom - top) == pytest.approx(0.30 * 120)


@pytest.mark.parametrize(("width", "height"), [(64, 32), (32, 64), (48, 40)])
def test_an_input_that_is_no_square_shows_more_on_its_longer_side(width: int, height: int) -> None:
    image = symbol()
    shorter = min(width, height)
    square = preprocess(image, Preprocessing(shorter, shorter, 1, resample="bilinear", framing="ink"))
    wide = preprocess(image, Preprocessing(width, height, 1, resample="bilinear", framing="ink"))
    top, left = (height - shorter) // 2, (width - shorter) // 2
    middle = wide[top : top + shorter, left : left + shorter]
    assert np.abs(middle.astype(int) - square).max() <= 16


def test_what_lies_beyond_the_image_is_background() -> None:
    spec = Preprocessing(48, 48, 3, background=(10, 200, 30), framing="ink")
    image = Image.new("RGB", (60, 60), (10, 200, 30))
    image.paste((0, 0, 0), (0, 0, 20, 20))
    pixels = preprocess(image, spec)
    assert (pixels[0] == (10, 200, 30)).all()
    assert (pixels[:, 0] == (10, 200, 30)).all()


@pytest.mark.parametrize("paper", [255, 250, 0])
def test_a_blank_image_is_taken_whole(paper: int) -> None:
    background = (paper, paper, paper)
    image = Image.new("L", (90, 60), paper)
    assert ink_box(image, background) is None
    spec = Preprocessing(48, 48, 1, background)
    framed = Preprocessing(48, 48, 1, background, framing="ink")
    assert np.array_equal(preprocess(image, framed), preprocess(image, spec))


@pytest.mark.parametrize("shade", [0, 128, 230])
def test_an_image_without_paper_is_taken_whole(shade: int) -> None:
    photo = Image.fromarray(np.random.default_rng(0).integers(0, max(1, shade), (80, 120), dtype=np.uint8))
    assert ink_box(photo, WHITE) is None
    assert ink_box(Image.new("L", (80, 120), shade), WHITE) is None


def test_grain_and_shadow_of_the_paper_are_no_ink() -> None:
    clean = symbol()
    grain = np.random.default_rng(0).integers(0, 30, (200, 200))
    shadow = np.linspace(0, 30, 200)[None]
    dirty = Image.fromarray(np.clip(np.asarray(clean) - grain - shadow, 0, 255).astype(np.uint8))
    assert ink_box(dirty, WHITE) == pytest.approx(ink_box(clean, WHITE), abs=2.0)


def test_white_on_black_is_ink_where_the_background_is_black() -> None:
    inverted = Image.eval(symbol(), lambda value: 255 - value)
    assert ink_box(inverted, (0, 0, 0)) == pytest.approx(ink_box(symbol(), WHITE), abs=0.5)


def test_a_color_as_light_as_the_paper_is_ink_in_a_color_image() -> None:
    image = Image.new("RGB", (100, 100), WHITE)
    image.paste((255, 255, 0), (60, 60, 80, 80))
    box = ink_box(image, WHITE)
    assert box is not None
    assert (box[0] + box[2]) / 2 == pytest.approx(70)


def test_a_speck_far_away_does_not_shrink_the_rest() -> None:
    dirty = symbol()
    dirty.paste(0, (2, 3, 4, 5))
    assert ink_box(dirty, WHITE) == pytest.approx(ink_box(symbol(), WHITE), abs=4.0)


def test_a_long_tail_is_not_cut_off() -> None:
    image = symbol()
    ImageDraw.Draw(image).line([(100, 100), (190, 100)], fill=0, width=5)
    box = ink_box(image, WHITE)
    assert box is not None
    assert box[2] > 190


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(8, 64), st.integers(8, 64), st.integers(0, 2**32 - 1))
def test_any_image_becomes_the_input(width: int, height: int, across: int, down: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = Image.new("L", (width, height), 255)
    x, y = int(rng.integers(width)), int(rng.integers(height))
    image.paste(0, (x, y, min(width, x + 1 + int(rng.integers(40))), min(height, y + 1 + int(rng.integers(40)))))
    spec = Preprocessing(across, down, 1, framing="ink")
    assert preprocess(image, spec).shape == spec.shape


def test_a_very_long_image_needs_no_canvas_of_its_length_squared() -> None:
    banner = Image.new("L", (60_000, 400), 255)
    banner.paste(0, (10, 10, 59_000, 60))
    assert preprocess(banner, INK).shape == INK.shape


@pytest.mark.parametrize("framing", ["whole", "ink"])
@pytest.mark.parametrize(("width", "height"), [(200, 50), (50, 200), (90, 90)])
def test_the_part_said_to_show_the_image_does_and_no_more(width: int, height: int, framing: Framing) -> None:
    spec = Preprocessing(48, 40, 3, background=(0, 0, 255), framing=framing)
    image = Image.new("RGB", (width, height), WHITE)  # the paper is not of the background's color
    pixels, (left, top, right, bottom), _ = fitted(image, spec)
    assert (pixels[top:bottom, left:right] == 255).all()
    outside = np.ones((40, 48), dtype=bool)
    outside[max(0, top - 1) : bottom + 1, max(0, left - 1) : right + 1] = False
    assert (pixels[outside] == (0, 0, 255)).all()


def test_the_part_that_shows_a_symbol_near_the_edge_ends_where_the_image_ends() -> None:
    image = Image.new("L", (100, 100), 200)
    image.paste(0, (0, 30, 10, 70))
    left, top, right, bottom = fitted(image, INK).shown
    assert (top, right, bottom) == (0, 48, 48)
    assert 18 <= left <= 24
