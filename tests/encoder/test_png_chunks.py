"""Whatever is written beside the picture of a PNG, the picture is read."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from exemplar_encoder import ImageError, ImageProblem, decode

MIB = 1 << 20
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)


def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8))


def plain() -> bytes:
    buffer = io.BytesIO()
    picture().save(buffer, "PNG")
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunks(*chunks: bytes, last: bool = False) -> bytes:
    content = plain()
    place = content.rindex(b"IEND") - 4 if last else 33
    return content[:place] + b"".join(chunks) + content[place:]


def noise(length: int) -> bytes:
    return np.random.default_rng(1).integers(1, 256, length, dtype=np.uint8).tobytes()


BESIDE = {
    "a large color profile": chunk(b"iCCP", b"profile\0\0" + zlib.compress(noise(2 * MIB))),
    "a packed text": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(noise(2 * MIB))),
    "a packed text in any language": chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(b"a" * 2 * MIB)),
    "packed XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"a" * 2 * MIB)),
    "a plain text": chunk(b"tEXt", b"Comment\0" + noise(2 * MIB)),
    "a gamma that is cut": chunk(b"gAMA", b"\0"),
    "a text whose checksum is wrong": chunk(b"tEXt", b"Comment\0text")[:-4] + bytes(4),
    "a chunk of one's own": chunk(b"teSt", noise(1000)),
    "an orientation without a text": chunk(b"iTXt", b"XML:com.adobe.xmp\0"),
    "an orientation that is no packed text": chunk(b"zTXt", b"Raw profile type exif\0\0garbage"),
}


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("name", BESIDE)
def test_a_picture_is_read_whatever_is_written_beside_it(name: str, last: bool) -> None:
    image = decode(with_chunks(BESIDE[name], last=last))
    assert np.array_equal(np.asarray(image.pixels), np.asarray(picture()))


@pytest.mark.parametrize("packed", [False, True])
def test_an_orientation_in_a_text_is_honored_beside_a_large_color_profile(packed: bool) -> None:
    flag, text = (b"\1", zlib.compress(XMP)) if packed else (b"\0", XMP)
    content = with_chunks(
        BESIDE["a large color profile"], chunk(b"iTXt", b"XML:com.adobe.xmp\0" + flag + b"\0\0\0" + text)
    )
    assert decode(content).pixels.size == (16, 24)


def test_texts_that_unpack_to_gigabytes_take_no_memory() -> None:
    bomb = zlib.compress(bytes(200 * MIB), 9)
    names = (b"Comment", b"XML:com.adobe.xmp", b"Raw profile type exif")
    texts = [chunk(b"zTXt", name + b"\0\0" + bomb) for name in names]
    content = with_chunks(*texts, chunk(b"iCCP", b"p\0\0" + bomb))
    tracemalloc.start()
    decode(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * MIB


@pytest.mark.parametrize("name", ["a large color profile", "packed XMP", "a plain text"])
def test_a_file_that_is_cut_within_what_is_beside_its_picture_is_called_damaged(name: str) -> None:
    content = with_chunks(BESIDE[name])
    for kept in (40, 44, 60, 33 + len(BESIDE[name]) - 1):
        with pytest.raises(ImageError) as refused:
            decode(content[:kept])
        assert refused.value.reason is ImageProblem.TRUNCATED
