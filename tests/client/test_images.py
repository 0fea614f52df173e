"""Images in every form that callers have them reach the server as bytes."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from exemplar import Part, Region
from exemplar.images import encoded, shrunk

RED = (200, 10, 20)


def pixels(content: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(content)))


def test_bytes_and_files_go_out_untouched(tmp_path: Path) -> None:
    content = b"whatever the server makes of it"
    file = tmp_path / "picture.jpg"
    file.write_bytes(content)
    forms = (content, bytearray(content), memoryview(content), file, str(file))
    assert [encoded(form) for form in forms] == [content] * 5


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 3), (7, 5, 4), (7, 5, 1)])
def test_an_array_keeps_every_pixel(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    assert np.array_equal(pixels(encoded(array)), array.squeeze())


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "F"])
def test_a_pillow_image_of_any_mode_can_be_sent(mode: str) -> None:
    image = Image.new("RGB", (6, 4), RED).convert(mode)
    assert Image.open(io.BytesIO(encoded(image))).size == (6, 4)


def test_a_pillow_image_is_sent_upright() -> None:
    image = Image.new("RGB", (6, 4), RED)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif)
    assert Image.open(io.BytesIO(encoded(Image.open(buffer)))).size == (4, 6)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no image file at .*nowhere\.png"):
        encoded(tmp_path / "nowhere.png")
    with pytest.raises(IsADirectoryError, match="is a folder, not an image file"):
        encoded(tmp_path)


@pytest.mark.parametrize(
    ("array", "error", "words"),
    [
        (np.zeros((4, 4), np.float32), TypeError, "uint8.*float32"),
        (np.zeros((4, 4, 2), np.uint8), ValueError, r"\[4, 4, 2\]"),
        (np.zeros((0, 4), np.uint8), ValueError, r"\[0, 4\]"),
    ],
)
def test_an_array_that_is_no_image_is_refused(
    array: np.ndarray[Any, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        encoded(array)


def test_something_else_is_refused_by_its_type() -> None:
    with pytest.raises(TypeError, match="this is int"):
        encoded(12)  # type: ignore[arg-type]


@pytest.mark.process
def test_an_array_without_pillow_installed_gets_a_sentence() -> None:
    code = (
        "import sys; sys.modules['PIL'] = None\n"
        "import numpy\n"
        "from exemplar.images import encoded\n"
        "try: encoded(numpy.zeros((4, 4), numpy.uint8))\n"
        "except ModuleNotFoundError as error: print(error)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "pip install 'exemplar[images]'" in out


def big() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((1800, 1200))


def test_an_image_of_any_kind_can_be_shrunk(tmp_path: Path) -> None:
    file = tmp_path / "big.png"
    big().save(file)
    for form in (file, str(file), file.read_bytes(), big(), np.asarray(big())):
        small = shrunk(form, 32)
        assert isinstance(small, bytes)
        assert Image.open(io.BytesIO(small)).size == (768, 512)


def test_a_part_that_is_shrunk_is_the_whole_of_what_is_sent() -> None:
    pixel, fraction = Region(600, 0, 1200, 1200), Region(1 / 3, 0, 2 / 3, 1, "fraction")
    small = [shrunk(Part(big(), region), 32) for region in (pixel, fraction)]
    assert small[0] == small[1] == shrunk(big().crop((600, 0, 1800, 1200)), 32)


def test_what_cannot_be_shrunk_is_left_to_the_server(tmp_path: Path) -> None:
    assert shrunk(b"no image", 32) == b"no image"
    for region in (Region(0, 0, 9000, 10), Region(-1, 0, 10, 10)):
        part = Part(encoded(big()), region)
        assert shrunk(part, 32) == part
    with pytest.raises(FileNotFoundError):
        shrunk(tmp_path / "nowhere.png", 32)


@pytest.mark.process
def test_shrinking_without_what_it_needs_gets_a_sentence() -> None:
    code = (
        "import sys; sys.modules['PIL'] = None\n"
        "from exemplar import Client\n"
        "try: Client(shrink=True)\n"
        "except ModuleNotFoundError as error: print(error)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "pip install 'exemplar[images]'" in out
