"""The rule for class ids, which callers choose: one for the server, which refuses others, and for who asks before."""

from __future__ import annotations

import re

MAX_ID_LENGTH = 128

# C0, DEL and C1. A lone surrogate is half a character, such as Python makes of a file name that is not UTF-8: no
# message can carry it.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def class_id_problem(class_id: str) -> str | None:
    """Return a sentence on why no class may have this id; None when one may."""
    if not 1 <= len(class_id) <= MAX_ID_LENGTH:
        return f"a class id has 1 to {MAX_ID_LENGTH} characters; this one has {len(class_id):,}"
    if "/" in class_id or _CONTROL.search(class_id):
        return f"a class id holds no '/' and no control characters; this one is {class_id!r}"
    return None
