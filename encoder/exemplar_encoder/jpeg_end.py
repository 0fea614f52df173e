"""JPEGs without their end marker: those that lack nothing else are told from those that lack pixels.

A decoder that comes to the end of a file in the middle of a picture makes the rest of it up, and does not say so. So
such a file is ended in several ways, each with other data behind its own: where it is whole none of them is looked
at, and all show the same picture; where it is cut they show different ones. A file that is cut between two scans
needs more: its scans have to state every coefficient to its last bit.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

_END = b"\xff\xd9"
_START_OF_SCAN = 0xDA
# Frames of Huffman codes; of others the data behind the picture's own may be looked at.
_SEQUENTIAL, _PROGRESSIVE = frozenset({0xC0, 0xC1}), 0xC2
_MARKER = re.compile(rb"\xff+([^\xff\x00\xd0-\xd7])")
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")
_COEFFICIENTS = 64
_MOST_COLORS = 4
_BEHIND = 64


def endings(content: bytes) -> list[bytes]:
    """Return a JPEG that lacks its end marker with different ends; it lacks no pixels if all show the same picture.

    Args:
        content: the file.

    Returns:
        Files with an end marker. Empty where the file is no such JPEG, or plainly lacks a part of its picture.
    """
    scan = _last_scan(content)
    if scan is None:
        return []
    cut = content.rstrip(b"\xff")
    restarts = _RESTART.findall(content, scan)
    latest = restarts[-1][0] - 0xD0 if restarts else -1
    noise = random.Random(0)
    behind = [b"", b"\xff\x00" * _BEHIND]
    for _ in range(2):
        parts = [bytes(noise.randrange(255) for _ in range(_BEHIND)) for _ in range(3)]
        # Where restart markers divide the data, what is behind the last one is looked at only after the next.
        markers = [bytes([0xFF, 0xD0 + (latest + 1 + index) % 8]) for index in range(2)]
        behind.append(parts[0] + markers[0] + parts[1] + markers[1] + parts[2])
    return [cut + more + _END for more in behind]


def _last_scan(content: bytes) -> int | None:
    """Find where the data of the last scan begin, if the file ends in them and its scans leave nothing out."""
    lacking: set[tuple[int, int]] | None = None  # colors and coefficients that are not known to their last bit
    progressive = False
    for kind, start, segment in _segments(content):
        if kind in _SEQUENTIAL or kind == _PROGRESSIVE:
            if lacking is not None or len(segment) < 6 or segment[5] > _MOST_COLORS:
                return None
            progressive = kind == _PROGRESSIVE
            colors = segment[6 : 6 + 3 * segment[5] : 3]
            lacking = {(color, index) for color in colors for index in range(_COEFFICIENTS)}
        elif kind == _START_OF_SCAN:
            if lacking is None or not segment or len(segment) < 4 + 2 * segment[0]:
                return None
            count = segment[0]
            first, last, bits = segment[1 + 2 * count : 4 + 2 * count]
            if not progressive:
                first, last, bits = 0, _COEFFICIENTS - 1, 0
            colors = segment[1 : 1 + 2 * count : 2]
            if not bits & 15:
                lacking -= {(color, index) for color in colors for index in range(first, last + 1)}
            data = start + len(segment)
            if _MARKER.search(content, data) is None:
                return None if lacking else data
    return None


def _segments(content: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield the marker of each segment of a JPEG, where its content begins, and that; scans' data are passed over."""
    position = 2 if content.startswith(b"\xff\xd8") else len(content)
    while (found := _MARKER.search(content, position)) is not None:
        kind, start = found[1][0], found.end() + 2
        length = int.from_bytes(content[found.end() : start], "big")
        if kind == _END[1] or length < 2:
            return
        yield kind, start, content[start : found.end() + length]
        position = found.end() + length
