"""A little space that is held while the disk has room, and let go when it has none: so that deletions always work.

A deletion needs room itself, for the log of what it changes. On a full disk there would be no way out otherwise.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

RESERVE = "exemplar.reserve"

_BYTES = 4 * 1024 * 1024


class Reserve:
    """The file that holds the space."""

    def __init__(self, directory: Path) -> None:
        """Hold space, if there is some."""
        self._path = directory / RESERVE
        self.keep()

    def keep(self) -> None:
        """Hold the space again where it was let go and the disk has room for twice as much."""
        if self._path.exists() or shutil.disk_usage(self._path.parent).free < 2 * _BYTES:
            return
        unfinished = self._path.with_suffix(".new")
        try:
            with unfinished.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, _BYTES)
            unfinished.replace(self._path)
        except OSError:  # somebody else took the room, or the limit on files is lower: then there is no reserve
            unfinished.unlink(missing_ok=True)

    def release(self) -> bool:
        """Let the space go; whether there was any."""
        try:
            self._path.unlink()
        except FileNotFoundError:
            return False
        return True
