"""Checksums of rows, and how one that does not match is told.

Every row carries a checksum over all that it says, so that a flipped bit is noticed and never served. An exemplar's
image is checked by the SHA-256 that names it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from exemplar_server.errors import DataLossError

_KINDS: dict[type, bytes] = {kind: kind.__name__.encode() for kind in (bytes, float, int, str, type(None))}


def checksum(*values: object) -> bytes:
    """Return 16 bytes over some column values; each is framed, so that no two lists of values look alike."""
    framed = []
    for value in values:
        content = value if isinstance(value, bytes) else repr(value).encode("utf-8", "surrogatepass")
        kind = type(value)
        framed.append(b"%b:%d:%b" % (_KINDS.get(kind) or kind.__name__.encode(), len(content), content))
    return hashlib.blake2b(b"".join(framed), digest_size=16).digest()


def damaged(gallery: str, class_ids: Sequence[str], what: str = "what is stored") -> DataLossError:
    """Return the error for stored data that must not be served, with how to mend it."""
    named = ", ".join(repr(class_id) for class_id in class_ids[:20])
    more = f" and {len(class_ids) - 20} more" if len(class_ids) > 20 else ""
    return DataLossError(
        "DATA_CORRUPT",
        f"{what} for class {named}{more} of gallery {gallery!r} does not match its checksum; "
        "enroll the class again or delete it",
        {"gallery": gallery, "classes": json.dumps(list(class_ids[:20]))},
    )


def damaged_gallery(gallery: str, problem: str) -> DataLossError:
    """Return the error for a gallery that cannot be served at all."""
    return DataLossError(
        "DATA_CORRUPT",
        f"gallery {gallery!r} is damaged: {problem}; restore a copy of the data or delete the gallery",
        {"gallery": gallery},
    )
