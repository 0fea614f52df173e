"""What in a PNG makes up its picture, without what is written beside it: color profiles, texts, times.

Of those the decoding library reads all, needed or not, and takes a large one for an attack, or for damage.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Beside the chunks that every reader needs: transparency, depth, orientation and the frames of an animation.
_NEEDED = frozenset({b"tRNS", b"sBIT", b"eXIf", b"acTL", b"fcTL", b"fdAT"})
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
# Texts that may state an orientation, and how large they may be unpacked.
_ORIENTING = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")
_LARGEST_TEXT = 1 << 20
_LAST = b"IEND"


def picture_only(content: bytes) -> bytes:
    """Return a PNG without chunks that say nothing of its pixels and its orientation; other files as they are."""
    if not content.startswith(_SIGNATURE):
        return content
    view = memoryview(content)
    kept = [view[: len(_SIGNATURE)]]
    oriented = False
    for kind, start, end in _chunks(content):
        text = kind in _TEXTS and not oriented and _may_orient(kind, content[start + 8 : end - 4])
        oriented = oriented or text
        if end > len(content) or text or kind in _NEEDED or not kind[0] & 32:
            kept.append(view[start:end])
    return b"".join(kept)


def stated_bits(content: bytes) -> int | None:
    """Return how many bits a gray PNG says of its values are significant; None where it does not say."""
    if not content.startswith(_SIGNATURE):
        return None
    stated = (content[start + 8] for kind, start, end in _chunks(content) if kind == b"sBIT" and end - start > 12)
    return next(stated, None)


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each chunk, and where it begins and ends; a cut one ends behind the file."""
    start = len(_SIGNATURE)
    while start < len(content):
        kind = content[start + 4 : start + 8]
        end = start + 12 + int.from_bytes(content[start : start + 4], "big")
        if len(kind) < 4 or kind == _LAST:
            end = len(content) + (len(kind) < 4)
        yield kind, start, end
        start = end


def _may_orient(kind: bytes, text: bytes) -> bool:
    """Whether the orientation may be in a text, which does not grow without bounds when it is unpacked."""
    name = next((name for name in _ORIENTING if text.startswith(name)), None)
    if name is None:
        return False
    packed = text[len(name) + 1 :]
    if kind == b"iTXt":
        if text[len(name) : len(name) + 1] != b"\1":
            return True
        packed = text[len(name) + 2 :].split(b"\0", 2)[-1]
    elif kind == b"tEXt":
        return True
    unpacking = zlib.decompressobj()
    try:
        unpacking.decompress(packed, _LARGEST_TEXT)
    except zlib.error:
        return False
    return not unpacking.unconsumed_tail
