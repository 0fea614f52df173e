"""Resource names as the contract has them, and the rules for ids, names and attributes, which callers choose.

For the clients, for the server, which refuses others, and for whoever asks before sending.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

MAX_ID_LENGTH = 128
MAX_DISPLAY_NAME = 1024
MAX_ATTRIBUTES = 64
MAX_ATTRIBUTE_KEY = 64
MAX_ATTRIBUTE_VALUE = 1024

_GALLERY = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

# C0, DEL and C1; marks that turn the direction of what follows them, so that an id reads as another one; and lone
# surrogates, half characters such as Python makes of a file name that is not UTF-8: no message can carry them.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_DIRECTION = re.compile(r"[\u202a-\u202e\u2066-\u2069]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")

# Nothing is drawn for them, though by their categories they are letters, marks and symbols.
_BLANK = re.compile(
    r"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_UNSEEN_CATEGORIES = frozenset(("Cc", "Cf", "Zl", "Zp", "Zs"))


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
    """Return a sentence on why no class may have this id; None when one may.

    The one rule, for whoever asks before sending and for the server, which refuses others. Spaces of any kind and
    joiners may stand within an id: scripts are written with them.
    """
    if not 1 <= len(class_id) <= MAX_ID_LENGTH:
        return f"a class id has 1 to {MAX_ID_LENGTH} characters; this one has {len(class_id):,}"
    found = _CONTROL.search(class_id) or _DIRECTION.search(class_id)
    if "/" in class_id or found:
        return f"a class id holds no '/', no control characters and no marks of direction; this one is {class_id!r}"
    if _SURROGATE.search(class_id):
        return f"a class id holds no part of a character that is not UTF-8; this one is {class_id!r}"
    if class_id != class_id.strip():
        return f"a class id neither begins nor ends with white space; this one is {class_id!r}"
    if all(_BLANK.match(each) or unicodedata.category(each) in _UNSEEN_CATEGORIES for each in class_id):
        return f"a class id holds something that can be seen; this one is {class_id!a}"
    return None


def gallery_id_problem(gallery: str) -> str | None:
    """Return a sentence on why no gallery may have this id; None when one may."""
    if _GALLERY.fullmatch(gallery):
        return None
    return f"it must be 1 to 63 of a-z, 0-9 and '-', not starting or ending with '-'; it is {gallery[:200]!r}"


def display_name_problem(name: str) -> str | None:
    """Return a sentence on why nothing may have this name for people; None when it may."""
    if len(name) <= MAX_DISPLAY_NAME:
        return None
    return f"it has {len(name):,} characters; {MAX_DISPLAY_NAME:,} is the most"


def attributes_problem(attributes: Mapping[str, str]) -> str | None:
    """Return a sentence on why no class may have these attributes; None when one may."""
    if len(attributes) > MAX_ATTRIBUTES:
        return f"there are {len(attributes)}; {MAX_ATTRIBUTES} is the most"
    for key, value in attributes.items():
        if len(key) > MAX_ATTRIBUTE_KEY:
            start = key[:MAX_ATTRIBUTE_KEY]
            return f"key {start!r}… has {len(key):,} characters; {MAX_ATTRIBUTE_KEY} is the most"
        if len(value) > MAX_ATTRIBUTE_VALUE:
            return f"the value of {key!r} has {len(value):,} characters; {MAX_ATTRIBUTE_VALUE:,} is the most"
    return None
