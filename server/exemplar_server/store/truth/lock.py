"""One process to a data directory.

The lock is the operating system's, so it goes away with the process however it ends; the file's text is only there to
tell people who holds it.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import BinaryIO

from exemplar_server.errors import StartError
from exemplar_server.store.truth.high_water_mark import sync_directory


class DataDirectoryLock:
    """Holds `LOCK` in a data directory until `release`."""

    def __init__(self, directory: Path) -> None:
        """Take the lock at once, creating the directory, for good, where it is missing.

        Raises:
            StartError: another process holds it, or the directory cannot be used.
        """
        try:
            missing = [each for each in (directory, *directory.parents) if not each.exists()]
            directory.mkdir(parents=True, exist_ok=True)
            for each in missing:
                sync_directory(each.parent)
            self._file = open(directory / "LOCK", "a+", encoding="ascii")  # noqa: SIM115 - held open on purpose
        except OSError as error:
            raise StartError(f"the data directory {directory} cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.seek(0)
            holder = self._file.read().strip() or "unknown"
            self._file.close()
            raise StartError(
                f"the data directory {directory} is in use by process {holder}; "
                "stop that process, or give this one a --data-dir of its own"
            ) from error
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def release(self) -> None:
        """Let another process have the directory."""
        self._file.close()


def lock_database(path: Path) -> BinaryIO:
    """Hold the database's own file, created where it is missing, until it is closed: `LOCK` may be deleted.

    SQLite's locks are of another kind, which this does not touch while it is open.

    Raises:
        StartError: another process holds it, or it cannot be written.
    """
    try:
        new = not path.exists()
        file = open(path, "r+b" if not new else "w+b")  # noqa: SIM115 - held open on purpose
        if new:
            sync_directory(path.parent)
    except OSError as error:
        raise StartError(f"the database {path} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise StartError(
            f"the database {path} is in use by another process; stop that, or give this one a --data-dir of its own"
        ) from error
    return file
