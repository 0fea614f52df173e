"""The folder that a job writes its shards to: a local one, or anything that fsspec knows by a URL.

Promises: a file is there whole or not at all, also after a power failure; nobody sees a part of it.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

_PARTIAL = ".partial"
_READ_TOGETHER = 500


class ShardError(Exception):
    """Shards that cannot be written or read; the message is a sentence."""


class ShardFolder:
    """See the module. Any number of processes may use one folder."""

    def __init__(self, location: str) -> None:
        """Name a folder, which need not be there; `location` is a path or a URL.

        Raises:
            ShardError: fsspec does not know the URL's protocol, or lacks the package for it.
        """
        self.location = location
        try:
            found: tuple[Any, str] = fsspec.core.url_to_fs(location)
        except (ValueError, ImportError) as error:
            raise ShardError(f"{location} cannot be used: {error}") from error
        self._files, self._root = found
        self.local = isinstance(self._files, LocalFileSystem)

    def prepare(self) -> None:
        """Make the folder, and remove what a killed process left half written."""
        self._files.makedirs(self._root, exist_ok=True)
        if self.local:
            for path in Path(self._root).glob(f".*{_PARTIAL}"):
                path.unlink(missing_ok=True)

    def names(self) -> set[str]:
        """Return the names of the files that are there."""
        self._files.invalidate_cache()
        try:
            return {path.rpartition("/")[2] for path in self._files.ls(self._root, detail=False)}
        except FileNotFoundError:
            return set()

    def read(self, name: str) -> bytes | None:
        """Return a file's content; None where there is none of this name."""
        try:
            content: bytes = self._files.cat_file(self._path(name))
        except FileNotFoundError:
            return None
        return content

    def read_all(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield small files with their names, in the order given; many are read at the same time."""
        wanted = list(names)
        for start in range(0, len(wanted), _READ_TOGETHER):
            some = wanted[start : start + _READ_TOGETHER]
            found = self._files.cat([self._path(name) for name in some], on_error="raise")
            for name in some:
                yield name, found[self._path(name)]

    def read_part(self, name: str, start: int, length: int) -> bytes:
        """Return `length` bytes of a file from `start` on."""
        content: bytes = self._files.cat_file(self._path(name), start=start, end=start + length)
        return content

    def write(self, name: str, content: bytes) -> None:
        """Put a small file in place of what was there."""
        with self.writing(name) as path:
            path.write_bytes(content)

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Give a local path to write a file to; when the block ends well, it is put in place."""
        if self.local:
            partial = Path(self._root) / f".{name}.{secrets.token_hex(8)}{_PARTIAL}"
            try:
                yield partial
                _sync(partial)
                partial.replace(self._path(name))
            finally:
                partial.unlink(missing_ok=True)
            _sync(Path(self._root))
            return
        with tempfile.TemporaryDirectory() as scratch:
            partial = Path(scratch) / name
            yield partial
            # An object store shows an object once the whole of it is there.
            self._files.put_file(str(partial), self._path(name))

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        """Give a local path to read a file from.

        Raises:
            ShardError: There is none of this name.
        """
        if self.local:
            path = Path(self._path(name))
            if not path.exists():
                raise ShardError(f"there is no {name} in {self.location}")
            yield path
            return
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch) / name
            try:
                self._files.get_file(self._path(name), str(copy))
            except FileNotFoundError as error:
                raise ShardError(f"there is no {name} in {self.location}") from error
            yield copy

    def remove(self, names: Iterable[str]) -> None:
        """Remove files that are there."""
        for name in names:
            self._files.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
