"""The keys as the server knows them: read again when their file changes, so that none needs a restart.

A file that is damaged, or gone, leaves the last keys in force and is told in the log, once.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import structlog

from exemplar_server.access.caller import Caller
from exemplar_server.access.keys import KeyEntry, KeyFileError, digest, key_id, read_keys
from exemplar_server.errors import StartError, UnauthenticatedError

_log = structlog.get_logger()

# The file is looked at so often, in seconds, and only when somebody calls.
LOOK_EVERY = 1.0


class KeyRing:
    """The keys of a file; belongs to one event loop, which waits for the file's few kilobytes."""

    def __init__(self, file: Path) -> None:
        """Read the file.

        Raises:
            StartError: it cannot be read, or is damaged.
        """
        self._file = file
        self._seen = _state(file)
        self._looked = monotonic()
        try:
            self._take(read_keys(file))
        except KeyFileError as error:
            raise StartError(f"{error}; `exemplar keys create` makes one, with --keys") from error

    def look(self) -> None:
        """Read the file anew if it is not as it was."""
        self._looked = monotonic()
        state = _state(self._file)
        if state == self._seen:
            return
        self._seen = state  # before it is read: a change while it is read is seen the next time
        try:
            entries = read_keys(self._file)
        except KeyFileError as error:
            _log.error("the keys are those of before", problem=str(error))
            return
        self._take(entries)
        _log.info("read the keys anew", keys=len(entries))

    def caller_of_key(self, key: str) -> Caller:
        """Return whom a key stands for.

        Raises:
            UnauthenticatedError: the key is malformed, not known (any more), or expired.
        """
        identity = key_id(key)
        if identity is None:
            raise UnauthenticatedError(
                "CREDENTIALS_MALFORMED", "the call shows a key that is cut or altered; one is exk_<id>_<secret>"
            )
        self._look_again()
        entry = self._by_id.get(identity)
        if entry is None or not hmac.compare_digest(digest(key), entry.sha256):
            raise unknown()
        return _holding(entry)

    def caller_of_certificate(self, names: Iterable[str]) -> Caller | None:
        """Return whom a verified certificate stands for; None where no entry names it.

        Raises:
            UnauthenticatedError: its entry has expired.
        """
        self._look_again()
        for name in names:
            if name in self._by_certificate:
                return _holding(self._by_certificate[name])
        return None

    def _look_again(self) -> None:
        if monotonic() - self._looked >= LOOK_EVERY:
            self.look()

    def _take(self, entries: list[KeyEntry]) -> None:
        self._by_id = {entry.id: entry for entry in entries if entry.id}
        self._by_certificate = {entry.certificate: entry for entry in entries if entry.certificate}


def unknown() -> UnauthenticatedError:
    """Return the error for a key or a token that is nobody's."""
    return UnauthenticatedError(
        "CREDENTIALS_UNKNOWN", "the call shows a key or token that the server does not know, or no longer"
    )


def _holding(entry: KeyEntry) -> Caller:
    if entry.expired(datetime.now(UTC)):
        raise UnauthenticatedError(
            "CREDENTIALS_EXPIRED",
            f"the key {entry.name!r} expired at {entry.expires}; show a newer one",
            {"expired": entry.expires or ""},
        )
    return entry.caller


def _state(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:  # reading it tells why
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
