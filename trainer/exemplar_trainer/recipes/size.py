"""The size of a network's input, as options give it."""

from __future__ import annotations

import re


def parse_size(text: str) -> tuple[int, int]:
    """Return `(width, height)` of "64" or "96x64"; ValueError where it is neither."""
    found = re.fullmatch(r"(\d{1,4})(?:x(\d{1,4}))?", text)
    if found is None:
        raise ValueError(f"--size takes a side or WIDTHxHEIGHT in pixels, such as 64 or 96x64, not {text!r}")
    return int(found[1]), int(found[2] or found[1])
