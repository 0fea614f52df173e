"""Resource names, ids and page tokens: what a request may say, and errors that name the field."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

from exemplar.names import attributes_problem, class_id_problem, display_name_problem, gallery_id_problem
from exemplar_server.errors import invalid_field

MAX_PAGE = 1000
DEFAULT_PAGE = 100
MAX_MODEL = 200

_SHA256 = re.compile(r"[0-9a-f]{64}")
_TOKEN_VERSION = "1:"


def parse_gallery(field: str, name: str) -> str:
    """Return the id in `galleries/{gallery}`."""
    prefix, _, gallery = name.partition("/")
    if prefix != "galleries" or gallery_id_problem(gallery):
        raise invalid_field(field, f"it must be galleries/{{gallery}}, not {name[:200]!r}")
    return gallery


def parse_class(field: str, name: str) -> tuple[str, str]:
    """Return the ids in `galleries/{gallery}/classes/{class}`."""
    parts = name.split("/")
    if len(parts) != 4 or parts[0] != "galleries" or parts[2] != "classes" or gallery_id_problem(parts[1]):
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
    _refuse(field, gallery_id_problem(gallery))
    return gallery


def check_class_id(field: str, class_id: str) -> str:
    """Return a class's id as it may be chosen."""
    _refuse(field, class_id_problem(class_id))
    return class_id


def check_sha256(field: str, digest: str) -> str:
    """Return the name of an exemplar in its class."""
    if not _SHA256.fullmatch(digest):
        raise invalid_field(field, f"it must be 64 hexadecimal digits in lower case; it is {digest[:200]!r}")
    return digest


def check_display_name(field: str, name: str) -> str:
    """Return a name for people."""
    _refuse(field, display_name_problem(name))
    return name


def check_attributes(field: str, attributes: Mapping[str, str]) -> dict[str, str]:
    """Return a class's attributes."""
    _refuse(field, attributes_problem(attributes))
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


def _refuse(field: str, problem: str | None) -> None:
    if problem is not None:
        raise invalid_field(field, problem)
