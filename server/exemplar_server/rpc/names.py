"""Resource names, ids and page tokens: what a request may say, and errors that name the field."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

from exemplar.names import class_id_problem
from exemplar_server.errors import invalid_field

MAX_PAGE = 1000
DEFAULT_PAGE = 100
MAX_DISPLAY_NAME = 1024
MAX_MODEL = 200

_GALLERY = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TOKEN_VERSION = "1:"


def parse_gallery(field: str, name: str) -> str:
    """Return the id in `galleries/{gallery}`."""
    prefix, _, gallery = name.partition("/")
    if prefix != "galleries" or not _GALLERY.fullmatch(gallery):
        raise invalid_field(field, f"it must be galleries/{{gallery}}, not {name[:200]!r}")
    return gallery


def parse_class(field: str, name: str) -> tuple[str, str]:
    """Return the ids in `galleries/{gallery}/classes/{class}`."""
    parts = name.split("/")
    if len(parts) != 4 or parts[0] != "galleries" or parts[2] != "classes" or not _GALLERY.fullmatch(parts[1]):
        raise invalid_field(field, f"it must be galleries/{{gallery}}/classes/{{class}}, not {name[:300]!r}")
    return parts[1], check_class_id(field, parts[3])


def parse_model(field: str, name: str) -> str:
    """Return the id in `models/{model}`; empty for an empty name."""
    if not name:
        return ""
    prefix, _, model = name.partition("/")
    if prefix != "models" or not 1 <= len(model) <= MAX_MODEL or "/" in model:
        raise invalid_field(field, f"it must be models/{{model}}, not {name[:200]!r}")
    return model


def check_gallery_id(field: str, gallery: str) -> str:
    """Return a gallery's id as it may be chosen."""
    if not _GALLERY.fullmatch(gallery):
        raise invalid_field(
            field,
            f"it must be 1 to 63 of a-z, 0-9 and '-', not starting or ending with '-'; it is {gallery[:200]!r}",
        )
    return gallery


def check_class_id(field: str, class_id: str) -> str:
    """Return a class's id as it may be chosen."""
    problem = class_id_problem(class_id)
    if problem is not None:
        raise invalid_field(field, problem)
    return class_id


def check_sha256(field: str, digest: str) -> str:
    """Return the name of an exemplar in its class."""
    if not _SHA256.fullmatch(digest):
        raise invalid_field(field, f"it must be 64 hexadecimal digits in lower case; it is {digest[:200]!r}")
    return digest


def check_display_name(field: str, name: str) -> str:
    """Return a name for people."""
    if len(name) > MAX_DISPLAY_NAME:
        raise invalid_field(field, f"it has {len(name):,} characters; {MAX_DISPLAY_NAME:,} is the most")
    return name


def check_attributes(field: str, attributes: Mapping[str, str]) -> dict[str, str]:
    """Return a class's attributes."""
    if len(attributes) > 64:
        raise invalid_field(field, f"there are {len(attributes)}; 64 is the most")
    for key, value in attributes.items():
        if len(key) > 64:
            raise invalid_field(field, f"key {key[:64]!r}… has {len(key):,} characters; 64 is the most")
        if len(value) > 1024:
            raise invalid_field(field, f"the value of {key!r} has {len(value):,} characters; 1,024 is the most")
    return dict(attributes)


def page(size: int, token: str) -> tuple[int, str]:
    """Return the number to list, and the id after which to begin."""
    if size < 0:
        raise invalid_field("page_size", f"it must not be negative; it is {size}")
    return min(size or DEFAULT_PAGE, MAX_PAGE), _parse_token(token)


def page_token(last_id: str) -> str:
    """Return the token of the page that begins after an id."""
    return base64.urlsafe_b64encode((_TOKEN_VERSION + last_id).encode()).decode("ascii")


def _parse_token(token: str) -> str:
    if not token:
        return ""
    try:
        text = base64.b64decode(token, altchars=b"-_", validate=True).decode("utf-8")
    except (binascii.Error, ValueError) as error:
        raise invalid_field("page_token", "it is not a token that this server gave out") from error
    if not text.startswith(_TOKEN_VERSION):
        raise invalid_field("page_token", "it is not a token that this server gave out")
    return text.removeprefix(_TOKEN_VERSION)
