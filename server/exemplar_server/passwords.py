"""Addresses as they may be shown: without their passwords."""

from __future__ import annotations

import re


def without_password(url: str) -> str:
    """Return a URL with what may be a password left out, one whose `/` or `@` are not escaped too."""
    return re.sub(r"(://[^:/@]*):.*@", r"\1:***@", re.sub(r"(password=)[^&]*", r"\1***", url))
