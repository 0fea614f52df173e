"""The decoder keeps its promises about bytes from strangers."""

from __future__ import annotations

import io
import re
import struct
import subprocess
import sys
import tracemalloc
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import process_time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from exemplar_encoder import DecodedImage, ImageError, ImageLimits, ImageProblem, Region, decode
from exemplar_encoder.headers import glance

ROOT = Path(__file__).parents[2]

# pytest puts its own warning filters in place of the decoder's.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::RuntimeWarning:PIL")

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "HEIC")
EXIF_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIC")
LOSSY = {"JPEG": 40, "AVIF": 10, "HEIC": 10}
BLUE = (10, 20, 200)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    if kind == "WEBP":
        options.setdefault("lossless", True)
    if kind in ("JPEG", "MPO"):
        options.setdefault("subsampling", 0)
        options.setdefault("quality", 95)
    if kind in ("AVIF", "HEIC"):
        options = {"quality": 100, "subsampling": "4:4:4", **options}
    if kind == "HEIC":
        kind = "HEIF"
        if isinstance(exif := options.get("exif"), Image.Exif):
            options["exif"] = exif.tobytes()
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def picture(width: int = 24, height: int = 16, mode: str = "RGB") -> Image.Image:
    """Return four flat quarters, each of another color, so that turning and mirroring show."""
    image = Image.new("RGB", (width, height), (250, 250, 250))
    image.paste((200, 0, 0), (0, 0, width // 2, height // 2))
    image.paste((0, 200, 0), (width // 2, 0, width, height // 2))
    image.paste((0, 0, 200), (0, height // 2, width // 2, height))
    return image.convert(mode)


def pixels(image: DecodedImage) -> np.ndarray:
    return np.asarray(image.pixels.convert("RGB")).astype(int)


def problem(content: bytes, limits: ImageLimits | None = None) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode(content, limits)
    return caught.value


# Formats


@pytest.mark.parametrize("kind", FORMATS)
def test_every_allowed_format_is_read(kind: str) -> None:
    image = decode(encode(picture(), kind))
    assert (image.format, image.width, image.height) == (kind, 24, 16)
    assert image.pixels.size == (24, 16)
    assert image.pixels.mode in ("L", "RGB")
    assert np.abs(pixels(image) - np.asarray(picture())).max() <= LOSSY.get(kind, 0)


@pytest.mark.parametrize("kind", ["PPM", "ICO", "TGA", "PCX"])
def test_a_format_that_is_not_on_the_list_is_refused_and_the_list_named(kind: str) -> None:
    error = problem(encode(picture(), kind))
    assert error.reason is ImageProblem.UNSUPPORTED_FORMAT
    assert all(name in str(error) for name in FORMATS)


def test_sound_in_a_riff_file_is_an_unsupported_format_and_not_a_damaged_picture() -> None:
    sound = b"RIFF" + struct.pack("<I", 36) + b"WAVEfmt " + bytes(28)
    assert problem(sound).reason is ImageProblem.UNSUPPORTED_FORMAT


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "AVIF", "HEIC"])
def test_of_several_frames_the_first_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), color) for color in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    image = decode(encode(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert np.abs(pixels(image) - [255, 0, 0]).max() <= LOSSY.get(kind, 0)


@pytest.mark.parametrize("brand", [b"mif1", b"msf1"])
@pytest.mark.parametrize("kind", ["AVIF", "HEIC"])
def test_a_container_of_a_general_brand_is_read_by_what_it_holds(kind: str, brand: bytes) -> None:
    content = encode(picture(), kind)
    assert decode(content[:8] + brand + content[12:]).format == kind


def test_a_film_is_an_unsupported_format_and_not_a_damaged_picture() -> None:
    film = struct.pack(">I", 24) + b"ftypisom" + bytes(4) + b"isommp41" + bytes(40)
    assert problem(film).reason is ImageProblem.UNSUPPORTED_FORMAT


@pytest.mark.process
@pytest.mark.parametrize(
    ("kind", "missing", "words"),
    [
        ("HEIC", "sys.modules['pillow_heif'] = None", "the image is HEIC.*exemplar\\[heif\\]"),
        ("AVIF", "PIL.features.modules['avif'] = ('PIL.none', None)", "the image is AVIF.*libavif"),
    ],
)
def test_a_format_that_cannot_be_read_here_is_named_with_what_is_missing(
    kind: str, missing: str, words: str, tmp_path: Path
) -> None:
    picture_file = tmp_path / "picture"
    picture_file.write_bytes(encode(picture(), kind))
    program = f"""
import sys
from pathlib import Path
from time import process_time
import PIL.features
{missing}
from exemplar_encoder import ImageError, decode
for length in (None, 40):
    try:
        decode(Path(sys.argv[1]).read_bytes()[:length])
    except ImageError as error:
        print(error.reason.name, error)
"""
    command = [sys.executable, "-c", program, str(picture_file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["UNSUPPORTED_FORMAT"] * 2
    assert all(re.search(words, line) for line in lines)


def test_a_phone_s_multi_picture_jpeg_is_a_jpeg() -> None:
    content = encode(picture(), "MPO", save_all=True, append_images=[picture()])
    assert decode(content).format == "JPEG"


# Orientation: what each EXIF value says was done to the upright picture, undone by hand.

UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored, 1),
}


@pytest.mark.parametrize("kind", EXIF_FORMATS)
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_the_exif_orientation_is_honored(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decode(encode(picture(), kind, exif=exif))
    expected = UPRIGHT[orientation](np.asarray(picture())).astype(int)
    assert (image.height, image.width) == expected.shape[:2]
    assert np.abs(pixels(image) - expected).max() <= LOSSY.get(kind, 0)


@pytest.mark.parametrize("block", [b"Exif\0\0nonsense", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(20), b"Exif\0\0"])
def test_a_damaged_exif_block_does_not_spoil_the_picture(block: bytes) -> None:
    assert decode(encode(picture(), "JPEG", exif=block)).pixels.size == (24, 16)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_means_nothing_is_ignored(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert decode(encode(picture(), "PNG", exif=exif)).pixels.size == (24, 16)


def test_a_heic_is_turned_by_its_container_whatever_its_exif_block_says() -> None:
    exif = {}
    for orientation in (1, 6):
        block = Image.Exif()
        block[0x0112] = orientation
        exif[orientation] = block.tobytes()
    content = encode(picture(), "HEIC", exif=exif[1])
    assert exif[1] in content
    assert decode(content.replace(exif[1], exif[6])).pixels.size == (24, 16)


# Modes


def half_transparent(mode: str) -> Image.Image:
    """Return an image, its left half black, its right half fully transparent over white, which must not show."""
    image = Image.new("RGBA", (16, 8), (255, 255, 255, 0))
    image.paste((0, 0, 0, 255), (0, 0, 8, 8))
    return image.convert(mode) if mode != "RGBA" else image


@pytest.mark.parametrize(("mode", "kind"), [("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "WEBP"), ("RGBA", "TIFF")])
def test_transparency_is_flattened_on_the_background(mode: str, kind: str) -> None:
    image = decode(encode(half_transparent(mode), kind), background=BLUE)
    assert (pixels(image)[:, :8] == 0).all()
    assert (pixels(image)[:, 8:] == BLUE).all()


def test_half_transparency_mixes_with_the_background() -> None:
    image = decode(encode(Image.new("RGBA", (8, 8), (200, 0, 0, 128)), "PNG"), background=(0, 0, 200))
    assert np.abs(pixels(image)[0, 0] - [100, 0, 100]).max() <= 1


@pytest.mark.parametrize(
    ("mode", "transparent", "kind"),
    [("P", 1, "PNG"), ("P", 1, "GIF"), ("L", 255, "PNG"), ("RGB", (255, 255, 255), "PNG"), ("1", 255, "PNG")],
)
def test_a_color_declared_transparent_becomes_background(mode: str, transparent: object, kind: str) -> None:
    gray = Image.new("L", (16, 8), 255)
    gray.paste(0, (0, 0, 8, 8))
    image = gray.convert(mode)
    if mode == "P":
        image = gray.point([0] * 255 + [1])
        image = Image.frombytes("P", gray.size, image.tobytes())
        image.putpalette([0, 0, 0, 255, 255, 255])
    flat = decode(encode(image, kind, transparency=transparent), background=BLUE)
    assert (pixels(flat)[:, :8] == 0).all()
    assert (pixels(flat)[:, 8:] == BLUE).all()


def sixteen_bit_png(values: np.ndarray, transparent: int | None = None, significant: int | None = None) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0))]
    if significant is not None:
        parts.append(chunk(b"sBIT", bytes([significant])))
    if transparent is not None:
        parts.append(chunk(b"tRNS", struct.pack(">H", transparent)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


RAMP = np.linspace(0, 65535, 64).round().astype(np.uint16).reshape(8, 8)


def test_sixteen_bit_gray_is_scaled_and_not_clipped() -> None:
    image = decode(sixteen_bit_png(RAMP))
    assert image.pixels.mode == "L"
    assert np.array_equal(np.asarray(image.pixels), (RAMP >> 8).astype(np.uint8))


@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_sixteen_bit_gray_of_either_byte_order_is_scaled(order: str) -> None:
    mode = "I;16" if order == "<u2" else "I;16B"
    stored = Image.frombytes(mode, (8, 8), RAMP.astype(order).tobytes())
    image = decode(encode(stored, "TIFF"))
    assert np.array_equal(np.asarray(image.pixels), (RAMP >> 8).astype(np.uint8))


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_gray_of_fewer_bits_in_sixteen_is_as_light_as_that_of_sixteen(bits: int, kind: str) -> None:
    values = RAMP >> (16 - bits)
    stored = sixteen_bit_png(values) if kind == "PNG" else encode(Image.fromarray(values), "TIFF")
    assert np.array_equal(np.asarray(decode(stored).pixels), (RAMP >> 8).astype(np.uint8))


def test_gray_that_says_how_many_bits_it_has_is_scaled_by_them() -> None:
    dark = RAMP >> 7
    assert np.asarray(decode(sixteen_bit_png(dark)).pixels).max() == 127  # of 10 bits
    for bits in (9, 12, 16):
        expected = (dark >> (bits - 8)).astype(np.uint8)
        assert np.array_equal(np.asarray(decode(sixteen_bit_png(dark, significant=bits)).pixels), expected)
        tiff = encode(Image.fromarray(dark), "TIFF", tiffinfo={281: (1 << bits) - 1})
        assert np.array_equal(np.asarray(decode(tiff).pixels), expected)


def test_values_beyond_the_bits_that_gray_says_it_has_are_not_clipped() -> None:
    for significant in (0, 8, 12):
        image = decode(sixteen_bit_png(RAMP, significant=significant))
        assert np.array_equal(np.asarray(image.pixels), (RAMP >> 8).astype(np.uint8))


def test_sixteen_bit_gray_declared_transparent_becomes_background() -> None:
    image = decode(sixteen_bit_png(RAMP, transparent=65535), background=BLUE)
    assert pixels(image)[7, 7].tolist() == list(BLUE)
    assert pixels(image)[0, 0].tolist() == [0, 0, 0]


def test_thirty_two_bit_gray_is_scaled() -> None:
    stored = Image.fromarray(RAMP.astype(np.int32), mode="I")
    image = decode(encode(stored, "TIFF"))
    assert np.array_equal(np.asarray(image.pixels), (RAMP >> 8).astype(np.uint8))


def test_one_bit_pictures_become_black_and_white() -> None:
    image = decode(encode(picture(mode="1"), "PNG"))
    assert image.pixels.mode == "L"
    assert set(np.unique(np.asarray(image.pixels))) == {0, 255}


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(kind: str) -> None:
    image = decode(encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), kind))
    assert image.pixels.mode == "RGB"
    red, green, blue = pixels(image)[8, 8]
    assert red > 230
    assert max(green, blue) < 30


@pytest.mark.parametrize("mode", ["F", "LAB"])
def test_pixels_that_are_no_colors_are_refused_as_unsupported(mode: str) -> None:
    error = problem(encode(Image.new(mode, (16, 16)), "TIFF"))
    assert error.reason is ImageProblem.UNSUPPORTED_FORMAT


def test_gray_stays_gray() -> None:
    assert decode(encode(picture(mode="L"), "PNG")).pixels.mode == "L"


# Limits


def test_an_empty_image_is_refused() -> None:
    error = problem(b"")
    assert error.reason is ImageProblem.EMPTY
    assert "0 bytes" in str(error)


def test_more_bytes_than_allowed_are_refused_naming_both_numbers() -> None:
    content = encode(picture(), "PNG")
    error = problem(content, ImageLimits(max_bytes=len(content) - 1))
    assert error.reason is ImageProblem.TOO_LARGE
    assert f"{len(content):,}" in str(error)
    assert f"{len(content) - 1:,}" in str(error)


def test_as_many_bytes_as_allowed_are_read() -> None:
    content = encode(picture(), "PNG")
    decode(content, ImageLimits(max_bytes=len(content)))


@pytest.mark.parametrize("kind", FORMATS)
def test_more_pixels_than_allowed_are_refused_naming_both_numbers(kind: str) -> None:
    content = encode(picture(128, 64), kind)  # HEIC would be filled up to the next 64
    error = problem(content, ImageLimits(max_pixels=8191))
    assert error.reason is ImageProblem.TOO_LARGE
    assert "8,192" in str(error)
    assert "8,191" in str(error)
    decode(content, ImageLimits(max_pixels=8192))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("size", [(7, 16), (16, 7), (1, 1)])
def test_a_side_that_is_too_short_is_refused_naming_both_numbers(kind: str, size: tuple[int, int]) -> None:
    error = problem(encode(Image.new("RGB", size), kind))
    assert error.reason is ImageProblem.TOO_SMALL
    assert f"{size[0]} x {size[1]}" in str(error)
    assert "8" in str(error)


# Bombs: files of a few bytes that declare a huge picture.


def _gif(width: int, height: int, frame: tuple[int, int] | None = None, disposal: int = 0) -> bytes:
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    control = b"\x21\xf9\x04" + bytes([disposal << 2]) + bytes(4)
    image = b"\x2c" + struct.pack("<HHHHB", 0, 0, *(frame or (width, height)), 0)
    return screen + control + image + b"\x02\x02\x44\x01\x00\x3b"


def _webp(kind: bytes, body: bytes) -> bytes:
    chunk = kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def _webp_lossless(side: int) -> bytes:
    # Five trivial prefix codes make a valid picture of any size in three bytes.
    header = struct.pack("<I", (side - 1) | (side - 1) << 14)
    return _webp(b"VP8L", b"\x2f" + header + b"\x88\x88\x08")


def _webp_extended(width: int, height: int) -> bytes:
    body = b"\x02\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return _webp(b"VP8X", body)


def _tiff(width: int, height: int) -> bytes:
    tags = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, height), (279, 1)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


def _tiled_tiff(width: int, height: int) -> bytes:
    """Draw a picture of 16 x 16 pixels in one larger tile, packed by LZW."""
    tags = [(256, 16), (257, 16), (258, 8), (259, 5), (262, 1), (277, 1)]
    tags += [(322, width), (323, height), (324, 8), (325, 100)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


def _png(width: int, height: int) -> bytes:
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))


def _bmp(width: int, height: int) -> bytes:
    information = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, *[0] * 6)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + information


def _jpeg(width: int, height: int) -> bytes:
    frame = struct.pack(">HBHHB", 17, 8, height, width, 3) + b"\x01\x11\0\x02\x11\0\x03\x11\0"
    return b"\xff\xd8\xff\xc0" + frame + b"\xff\xda\x00\x0c\x03\x01\0\x02\0\x03\0\0\x3f\0"


def _declaring(content: bytes, width: int, height: int) -> bytes:
    """Have an AVIF or HEIC file declare another size, whatever it shows of it."""
    assert content.count(b"ispe") == 1
    start = content.index(b"ispe") + 8
    return content[:start] + struct.pack(">II", width, height) + content[start + 8 :]


BOMBS = {
    "png": _png(60000, 60000) + b"\0\0\0\x01IDAT\0\0\0\0\0",
    "png, under the library's own limit": _png(13000, 13000) + b"\0\0\0\x01IDAT\0\0\0\0\0",
    "jpeg": _jpeg(65000, 65000),
    "jpeg, under the library's own limit": _jpeg(13000, 13000),
    "bmp": _bmp(100000, 100000),
    "bmp, under the library's own limit": _bmp(13000, 13000),
    "bmp, upside down": _bmp(13000, -13000),
    "tiff": _tiff(100000, 100000),
    "tiff, under the library's own limit": _tiff(13000, 13000),
    "tiff in one tile": _tiled_tiff(32768, 32768),
    "gif": _gif(65000, 65000),
    "gif, under the library's own limit": _gif(13000, 13000),
    "gif whose first frame is cleared": _gif(13000, 13000, disposal=2),
    "gif whose frame is larger than its screen": _gif(10, 10, frame=(13000, 13000), disposal=2),
    "webp, lossless": _webp_lossless(13000),
    "webp, lossless, the largest": _webp_lossless(16384),
    "webp, extended": _webp_extended(13000, 13000),
    "webp, extended, the largest": _webp_extended(1 << 24, 1 << 24),
    "avif": _declaring(encode(picture(), "AVIF"), 60000, 60000),
    "avif, under the library's own limit": _declaring(encode(picture(), "AVIF"), 13000, 13000),
    "heic": _declaring(encode(picture(), "HEIC"), 60000, 60000),
    "heic, under the library's own limit": _declaring(encode(picture(), "HEIC"), 13000, 13000),
    "heic, with flags": _declaring(encode(picture(), "HEIC"), 13000, 13000).replace(b"ispe\0\0\0\0", b"ispe\0\0\0\1"),
    "heic, the largest": _declaring(encode(picture(), "HEIC"), (1 << 32) - 1, (1 << 32) - 1),
    "webp, lossy": _webp(b"VP8 ", b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", 13000, 13000) + bytes(10)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_declares_a_huge_picture_is_too_large(name: str) -> None:
    error = problem(BOMBS[name])
    assert error.reason is ImageProblem.TOO_LARGE
    assert re.search(r"\d[\d,]{8,} pixels.* limit is 50,000,000", str(error))


@pytest.mark.process
def test_declared_sizes_are_refused_before_pixels_are_allocated() -> None:
    # A process of its own with little address space to spare: an allocated canvas (169 million pixels) would fail it.
    program = """
import resource, sys
from exemplar_encoder import ImageError, decode
from tests.encoder.test_decode import BOMBS, FORMATS, encode, picture
for kind in FORMATS:
    decode(encode(picture(), kind))
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 80_000_000, used + 80_000_000))
for name, content in BOMBS.items():
    try:
        decode(content)
    except ImageError as error:
        if error.reason.name != "TOO_LARGE" or error.__context__ is not None and "Memory" in repr(error.__context__):
            sys.exit(f"{name}: {error!r} {error.__context__!r}")
    else:
        sys.exit(f"{name} was decoded")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_a_heic_that_holds_more_than_it_declares_is_refused() -> None:
    content = _declaring(encode(picture(640, 480), "HEIC"), 64, 48)
    assert problem(content).reason is ImageProblem.TRUNCATED


def test_sixteen_bit_gray_takes_a_few_times_its_size_in_memory() -> None:
    content = sixteen_bit_png(np.zeros((2000, 2000), dtype=np.uint16) + 40000)
    tracemalloc.start()
    try:
        decode(content)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 * 2000 * 2000


# Damage

SMALL = {kind: encode(picture(9, 8), kind) for kind in FORMATS}
SMALL["PNG palette"] = encode(picture(9, 8, "P"), "PNG")
SMALL["TIFF deflate"] = encode(picture(9, 8), "TIFF", compression="tiff_adobe_deflate")
SMALL["WEBP lossy"] = encode(picture(9, 8), "WEBP", lossless=False)
SMALL["WEBP alpha"] = encode(picture(9, 8, "RGBA"), "WEBP")
SMALL["JPEG progressive"] = encode(picture(9, 8, "L"), "JPEG", progressive=True)


def assert_image_or_refusal(content: bytes, limits: ImageLimits) -> None:
    try:
        image = decode(content, limits)
    except ImageError:
        return
    assert image.format in FORMATS
    assert image.pixels.mode in ("L", "RGB")
    assert image.pixels.size == (image.width, image.height)  # no region was asked for
    assert image.width * image.height <= limits.max_pixels
    assert min(image.width, image.height) >= limits.min_side


@pytest.mark.parametrize("name", SMALL)
def test_a_file_cut_short_anywhere_gives_an_image_or_a_refusal(name: str) -> None:
    for length in range(len(SMALL[name])):
        assert_image_or_refusal(SMALL[name][:length], ImageLimits())


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_cut_in_the_middle_is_called_damaged(kind: str) -> None:
    rng = np.random.default_rng(0)
    content = encode(Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)), kind)
    error = problem(content[: len(content) // 2])
    assert error.reason is ImageProblem.TRUNCATED
    assert "damaged or cut short" in str(error)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_bare_signature_is_called_damaged(kind: str) -> None:
    assert problem(SMALL[kind][:16]).reason is ImageProblem.TRUNCATED


@given(st.binary(max_size=200))
def test_arbitrary_bytes_give_an_image_or_a_refusal(content: bytes) -> None:
    assert_image_or_refusal(content, ImageLimits(max_pixels=1_000_000))


@given(st.sampled_from([content[:12] for content in SMALL.values()]), st.binary(max_size=200))
def test_arbitrary_bytes_after_a_signature_give_an_image_or_a_refusal(head: bytes, rest: bytes) -> None:
    assert_image_or_refusal(head + rest, ImageLimits(max_pixels=1_000_000, min_side=1))


@settings(max_examples=400)
@given(st.data())
def test_mutated_images_give_an_image_or_a_refusal(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(sorted(SMALL.values()))))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=4))
        content = content or bytearray(b"\0")
    assert_image_or_refusal(bytes(content), ImageLimits(max_pixels=1_000_000, min_side=1))


# Threads


def test_decoding_on_many_threads_leaves_the_process_s_warning_filters_alone() -> None:
    # catch_warnings swaps the global filters, so on threads the last to leave may leave "ignore everything" behind.
    content = encode(picture(600, 600), "PNG")
    with warnings.catch_warnings():
        before = list(warnings.filters)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: decode(content), range(200)))
        assert list(warnings.filters) == before


@pytest.mark.process
def test_a_damaged_picture_leaves_nothing_on_standard_error() -> None:
    program = """
from exemplar_encoder import ImageError, decode
from tests.encoder.test_decode import SMALL
for length in range(len(SMALL["TIFF"])):
    try:
        decode(SMALL["TIFF"][:length])
    except ImageError:
        pass
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")


# Cost


def _with_scans(count: int) -> bytes:
    """Return a progressive JPEG whose last scan, which refines one bit, comes again and again."""
    content = encode(picture(64, 64), "JPEG", progressive=True)
    return content[:-2] + content[content.rindex(b"\xff\xda") : -2] * count + b"\xff\xd9"


def test_a_jpeg_of_many_scans_is_refused_before_one_is_decoded() -> None:
    assert decode(_with_scans(50)).pixels.size == (64, 64)
    start = process_time()
    error = problem(_with_scans(100_000))
    assert error.reason is ImageProblem.TOO_COSTLY
    assert "scans" in str(error)
    assert process_time() - start < 1


def test_a_film_behind_a_phone_s_picture_does_not_count_as_scans() -> None:
    film = np.random.default_rng(0).integers(0, 256, 15_000_000, np.uint8).tobytes()
    assert film.count(b"\xff\xda") > 200
    assert decode(encode(picture(), "JPEG") + film).pixels.size == (24, 16)


def test_too_little_memory_is_no_fault_of_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    with pytest.raises(MemoryError):
        decode(encode(picture(), "PNG"))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_glance_tells_the_size_of_a_picture_or_nothing(kind: str) -> None:
    # HEIC says the size of its tiles, too.
    assert glance(encode(picture(), kind)) == {"TIFF": None, "HEIC": (64, 64)}.get(kind, (24, 16))


ENCODED = {kind: encode(picture(), kind) for kind in FORMATS}


@settings(max_examples=200)
@given(st.binary(max_size=200), st.sampled_from(FORMATS), st.integers(0, 40))
def test_a_glance_at_anything_does_no_harm(content: bytes, kind: str, kept: int) -> None:
    glance(ENCODED[kind][:kept] + content)


def test_a_glance_is_quick_whatever_is_sent() -> None:
    start = process_time()
    for content in (b"\xff\xd8" + b"\xff\xfe\0\2" * 4_000_000, b"\0\0\0\1ftypheic" + b"ispe\0" * 3_000_000):
        glance(content)
    assert process_time() - start < 0.5


def test_transparency_is_flattened_alike_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encode(Image.effect_noise((40, 30), 80).convert("RGBA").rotate(30), "PNG")
    whole = pixels(decode(content, background=BLUE))
    monkeypatch.setattr(sys.modules["exemplar_encoder.decode"], "_STRIP_PIXELS", 40 * 7)
    assert np.array_equal(pixels(decode(content, background=BLUE)), whole)


def large_jpeg(width: int = 400, height: int = 240, **options: object) -> bytes:
    small = picture(width // 40, height // 40)
    return encode(small.resize((width, height), Image.Resampling.BICUBIC), "JPEG", quality=95, **options)


@pytest.mark.parametrize(("enough", "reduction"), [(241, 1), (121, 1), (120, 2), (61, 2), (60, 4), (30, 8), (8, 8)])
def test_a_jpeg_keeps_at_least_as_many_pixels_as_are_enough(enough: int, reduction: int) -> None:
    image = decode(large_jpeg(), enough=enough)
    assert image.reduction == reduction
    assert image.pixels.size == (400 // reduction, 240 // reduction)
    assert (image.width, image.height) == (400, 240)


def test_a_jpeg_that_is_read_reduced_shows_the_same() -> None:
    whole = decode(large_jpeg()).pixels.reduce(4)
    reduced = decode(large_jpeg(), enough=60).pixels
    assert np.abs(np.asarray(whole, int) - np.asarray(reduced, int)).mean() < 1.5
    gray = decode(large_jpeg(), enough=60, gray=True).pixels
    assert gray.mode == "L"
    assert np.abs(np.asarray(whole.convert("L"), int) - np.asarray(gray, int)).mean() < 1.5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_that_is_read_reduced_is_upright_and_states_its_own_size(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = large_jpeg(exif=exif)
    whole, reduced = decode(content), decode(content, enough=60)
    assert (reduced.width, reduced.height) == (whole.width, whole.height) == whole.pixels.size
    assert reduced.pixels.size == (whole.width // 4, whole.height // 4)
    difference = np.asarray(whole.pixels.reduce(4), int) - np.asarray(reduced.pixels, int)
    assert np.abs(difference).mean() < 1.5


def test_a_region_of_a_jpeg_and_pictures_of_other_formats_are_read_whole() -> None:
    assert decode(large_jpeg(), region=Region(0, 0, 200, 100), enough=30).pixels.size == (200, 100)
    assert decode(encode(picture(400, 240), "PNG"), enough=30).pixels.size == (400, 240)


def test_a_damaged_jpeg_is_refused_reduced_or_not() -> None:
    content = large_jpeg()
    with pytest.raises(ImageError) as refused:
        decode(content[: len(content) // 2], enough=30)
    assert refused.value.reason is ImageProblem.TRUNCATED
