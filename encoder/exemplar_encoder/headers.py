"""Sizes that files declare, read without decoding anything.

Pillow allocates the canvas of WebP and GIF while it opens them, so a limit on pixels has to be checked before that.
HEIC may show a small part of what is decoded, and AVIF and HEIC beyond their libraries' own limits look like damaged
ones. For the other formats Pillow reads the size first, and nothing is needed here but a glance, where somebody wants
to know beforehand what an image will cost.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

Size = tuple[int, int]

_GIF_BLOCK = re.compile(rb"[!,;]")
_GIF_COMMENT = 254

_EXTENT = b"ispe\0"

_JPEG = b"\xff\xd8\xff"
# How the header of a scan begins: a marker, the length of the header, and how many colors it has.
_SCANS = [bytes([0xFF, 0xDA, 0, 6 + 2 * colors, colors]) for colors in (1, 2, 3, 4)]
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PNG = b"\x89PNG\r\n\x1a\n"

# Phones put some, of 64 KiB each, before the size; `glance` must be quick whatever is sent.
_MOST_SEGMENTS = 64
_GLANCED_AT = 4096


def declared_size(content: bytes) -> Size | None:
    """Read width and height of a WebP, GIF, AVIF or HEIC file.

    Returns:
        None for anything else, or a header that is cut short. Of the several images of an AVIF or HEIC, the largest.
    """
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return _webp_size(content)
    if content[:6] in (b"GIF87a", b"GIF89a") and len(content) >= 13:
        return _gif_size(content)
    if content[4:8] == b"ftyp":
        return max(_extents(content), key=lambda size: size[0] * size[1], default=None)
    return None


def count_scans(content: bytes) -> int:
    """Count the scans of a JPEG, with those of smaller pictures in it; of anything else there are none."""
    # Within a scan's data such bytes cannot be, and elsewhere, as in a film behind the picture, they are rare.
    return sum(content.count(start) for start in _SCANS) if content.startswith(_JPEG) else 0


def glance(content: bytes) -> Size | None:
    """Read width and height of a file in no time at all; None where that does not tell.

    It is what the file says first: what decoding really finds may be another size.
    """
    if content.startswith(_PNG) and len(content) >= 24:
        width, height = struct.unpack_from(">II", content, 16)
        return width, height
    if content.startswith(_JPEG):
        return _jpeg_size(content)
    if content.startswith(b"BM") and len(content) >= 26:
        width, height = struct.unpack_from("<ii", content, 18)
        return abs(width), abs(height)
    if content[:6] in (b"GIF87a", b"GIF89a") and len(content) >= 13:
        width, height = struct.unpack_from("<HH", content, 6)
        return width, height
    return declared_size(content[:_GLANCED_AT])


def _jpeg_size(content: bytes) -> Size | None:
    position = 2
    for _ in range(_MOST_SEGMENTS):
        if len(content) < position + 9 or content[position] != 0xFF:
            return None
        if content[position + 1] in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", content, position + 5)
            return width, height
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    return None


def _extents(content: bytes) -> Iterator[Size]:
    """Yield what every box of an image's extent says, in whatever boxes it is: its name, version 0, flags, sides."""
    start = content.find(_EXTENT)
    while start >= 0 and start + 16 <= len(content):
        width, height = struct.unpack_from(">II", content, start + 8)
        yield width, height
        start = content.find(_EXTENT, start + 1)


def _webp_size(content: bytes) -> Size | None:
    kind = content[12:16]
    if kind == b"VP8X" and len(content) >= 30:
        return 1 + int.from_bytes(content[24:27], "little"), 1 + int.from_bytes(content[27:30], "little")
    if kind == b"VP8L" and len(content) >= 25:
        bits = int.from_bytes(content[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + ((bits >> 14) & 0x3FFF)
    if kind == b"VP8 " and len(content) >= 30:
        return int.from_bytes(content[26:28], "little") & 0x3FFF, int.from_bytes(content[28:30], "little") & 0x3FFF
    return None


def _gif_size(content: bytes) -> Size:
    """Read the screen's size, grown to hold the first frame, as Pillow does where a frame sticks out."""
    width, height = (int.from_bytes(content[start : start + 2], "little") for start in (6, 8))
    flags = content[10]
    position = 13 + (3 << (flags & 7) + 1 if flags & 128 else 0)
    while found := _GIF_BLOCK.search(content, position):
        position = found.end()
        if found[0] == b"!":
            position = _after_extension(content, position)
        elif found[0] == b"," and len(content) >= position + 8:
            x, y, frame_width, frame_height = (
                int.from_bytes(content[start : start + 2], "little") for start in range(position, position + 8, 2)
            )
            return max(width, x + frame_width), max(height, y + frame_height)
        else:
            break
    return width, height


def _after_extension(content: bytes, position: int) -> int:
    """Find the position after an extension whose label is at `position`, block by block as Pillow does.

    Pillow takes the first block of all but comments for granted, even an empty one, and one more after NETSCAPE2.0.
    Any other reading of such files could end at another frame than the one that Pillow will make room for.
    """
    label = content[position : position + 1]
    length, position = _block(content, position + 1)
    if label == bytes([_GIF_COMMENT]):
        while length:
            length, position = _block(content, position)
        return position
    if label == b"\xff" and content[position - length : position].startswith(b"NETSCAPE2.0"):
        length, position = _block(content, position)
    length, position = _block(content, position)
    while length:
        length, position = _block(content, position)
    return position


def _block(content: bytes, position: int) -> tuple[int, int]:
    """Read the length of the data block at `position`, 0 at the end of a chain, and find the position after it."""
    length = content[position] if position < len(content) else 0
    return length, position + 1 + length
