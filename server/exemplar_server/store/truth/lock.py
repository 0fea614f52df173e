"""One process to a data directory.

The lock is the operating system's, so it goes away with the process however it ends; the file's text is only there to
tell people who holds it.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from exemplar_server.errors import StartError


class DataDirectoryLock:
    """Holds `LOCK` in a data directory until `release`."""

    def __init__(self, directory: Path) -> None:
        """Take the lock at once, creating the directory where it is missing.

        Raises:
            StartError: another process holds it, or the directory cannot be used.
        """
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._file = open(directory / "LOCK", "a+", encoding="ascii")  # noqa: SIM115 - held open on purpose
        except OSError as error:
            raise StartError(f"the data directory {directory} cannot be used: {error}") from error
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
