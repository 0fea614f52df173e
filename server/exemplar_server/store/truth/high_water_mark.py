"""How many changes a store has acknowledged, kept outside of its database, so that losing some is never silent.

A database that lost its log, or the end of it, is sound by itself and only older: nothing in it tells. The mark
does. It is written after each commit, before anybody is told of it: so it is never ahead of a database that is whole,
and at the most one commit behind.

The file holds two lines, each with a checksum, which are written in turn: one of them is always whole.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from exemplar_server.errors import StartError, UnavailableError

MARK = "exemplar.mark"

_LINE = 512
_MAGIC = "exemplar-mark 1"


@dataclass(frozen=True, slots=True)
class Mark:
    """The store's id, and how many changes were committed to it, counted in transactions."""

    store_id: str
    changes: int


class HighWaterMark:
    """The mark of one data directory."""

    def __init__(self, directory: Path, name: str = MARK) -> None:
        self._path = directory / name
        self._turn = 0
        self._file: int | None = None

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def read(self) -> Mark | None:
        """Return the mark; None where there is no file.

        Raises:
            StartError: the file is there and says nothing.
        """
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StartError(f"{self._path} cannot be read: {error.strerror}") from error
        lines = [_parsed(content[start : start + _LINE]) for start in (0, _LINE)]
        marks = [mark for mark in lines if mark is not None]
        if not marks:
            raise StartError(
                f"{self._path}, which tells how many changes the store has acknowledged, is damaged: whether all are "
                "there cannot be told. Restore a copy of the store, or serve what is there with --accept-loss"
            )
        last = max(marks, key=lambda mark: mark.changes)
        self._turn = 1 - lines.index(last)
        return last

    def write(self, mark: Mark) -> None:
        """Have a mark on disk when this returns; it is of the store of the one before, and no lower.

        Raises:
            UnavailableError: it cannot be written.
        """
        with self._told_of():
            if not self._path.exists():
                self._replace(mark)
                return
            if self._file is None:
                self._file = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            os.pwrite(self._file, _line(mark), self._turn * _LINE)
            os.fdatasync(self._file)
        self._turn = 1 - self._turn

    def replace(self, mark: Mark) -> None:
        """Have a mark on disk in place of whatever is there, whole or not at all.

        Raises:
            UnavailableError: it cannot be written.
        """
        with self._told_of():
            self._replace(mark)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _replace(self, mark: Mark) -> None:
        self.close()
        unfinished = self._path.with_suffix(".new")
        with unfinished.open("wb") as file:
            file.write(_line(mark).ljust(2 * _LINE))
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self._path)
        sync_directory(self._path.parent)
        self._turn = 1

    @contextmanager
    def _told_of(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UnavailableError(
                "MARK_UNWRITABLE",
                f"the change is stored, but {self._path} cannot be written to tell of it: {error.strerror}",
            ) from error


def sync_directory(directory: Path) -> None:
    """Have the names in a directory on disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _line(mark: Mark) -> bytes:
    text = f"{_MAGIC} {mark.store_id} {mark.changes}"
    return f"{text} {_checksum(text)}".encode("ascii").ljust(_LINE - 1) + b"\n"


def _parsed(line: bytes) -> Mark | None:
    text, _, checksum = line.decode("ascii", "replace").rstrip().rpartition(" ")
    if checksum != _checksum(text):
        return None
    store_id, changes = text.removeprefix(_MAGIC).split()
    return Mark(store_id, int(changes))


def _checksum(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
