"""Resource names as the contract has them, and the rule for the class ids in them, which callers choose.

For the clients, for the server, which refuses other ids, and for whoever asks before sending.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MAX_ID_LENGTH = 128

# C0, DEL and C1. A lone surrogate is half a character, such as Python makes of a file name that is not UTF-8: no
# message can carry it.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def gallery_name(gallery: str) -> str:
    """Return a gallery's resource name."""
    return f"galleries/{gallery}"


def class_name(gallery: str, class_id: str) -> str:
    """Return a class's resource name."""
    return f"galleries/{gallery}/classes/{class_id}"


def model_name(model: str) -> str:
    """Return a model's resource name."""
    return f"models/{model}"


def folder_class_id(parts: Iterable[str]) -> str:
    """Return the id of the class whose pictures a folder holds: the `parts` of its path, joined as an id may be."""
    return ":".join(parts)


def class_id_problem(class_id: str) -> str | None:
    """Return a sentence on why no class may have this id; None when one may."""
    if not 1 <= len(class_id) <= MAX_ID_LENGTH:
        return f"a class id has 1 to {MAX_ID_LENGTH} characters; this one has {len(class_id):,}"
    if "/" in class_id or _CONTROL.search(class_id):
        return f"a class id holds no '/' and no control characters; this one is {class_id!r}"
    return None
