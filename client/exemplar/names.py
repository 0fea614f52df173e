"""Resource names as the contract has them, and the rules for ids, names and attributes, which callers choose.

For the clients, for the server, which refuses others, and for whoever asks before sending.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

MAX_ID_LENGTH = 128
MAX_DISPLAY_NAME = 1024
MAX_ATTRIBUTES = 64
MAX_ATTRIBUTE_KEY = 64
MAX_ATTRIBUTE_VALUE = 1024

_GALLERY = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

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
