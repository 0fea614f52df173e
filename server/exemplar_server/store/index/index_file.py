"""Files of arrays that are whole or not believed: written beside, brought to disk, renamed; a checksum at the end."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_MAGIC = b"exemplar index 1\n"
_DIGEST = 32
_CHUNK = 1 << 22


def write(path: Path, parts: Sequence[Array]) -> None:
    """Write arrays one after the other, so that `path` is the old file or the whole new one whenever power fails."""
    beside = path.with_name(path.name + ".writing")
    digest = hashlib.blake2b(digest_size=_DIGEST)
    with open(beside, "wb") as file:
        sizes = np.array([part.nbytes for part in parts], "<u8")
        head = _MAGIC + len(parts).to_bytes(8, "little") + sizes.tobytes()
        digest.update(head)
        file.write(head)
        for part in parts:
            content = _bytes(part)
            for first in range(0, len(content), _CHUNK):
                digest.update(content[first : first + _CHUNK])
                file.write(content[first : first + _CHUNK])
                # A little at a time: the database's own writes would have to wait for all of it to reach the disk.
                file.flush()
                os.fdatasync(file.fileno())
        file.write(digest.digest())
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class Reader:
    """Reads what `write` wrote, part by part: `with Reader(path) as file: first = file.part(np.int64)`.

    All parts have to be read. On leaving, and on entering, a `ValueError` says what is wrong with the file; nothing
    that was read may be used before.
    """

    def __init__(self, path: Path) -> None:
        """Open a file, which raises `OSError` where it cannot be read."""
        self._path = path
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed on leaving
        self._digest = hashlib.blake2b(digest_size=_DIGEST)

    def __enter__(self) -> Self:
        try:
            head = self._file.read(len(_MAGIC) + 8)
            if not head.startswith(_MAGIC) or len(head) < len(_MAGIC) + 8:
                raise ValueError("it is no saved index, or of another format")
            count = int.from_bytes(head[len(_MAGIC) :], "little")
            table = self._file.read(min(8 * count, 1 << 16))
            if len(table) < 8 * count:
                raise ValueError("it is not whole")
            sizes = np.frombuffer(table, "<u8").tolist()
            if len(head) + len(table) + sum(sizes) + _DIGEST != self._path.stat().st_size:
                raise ValueError("it is not whole")
        except BaseException:
            self._file.close()
            raise
        self._digest.update(head + table)
        self._sizes = iter(sizes)
        return self

    def part(self, dtype: npt.DTypeLike, into: Array | None = None) -> Array:
        """Return the next array, one-dimensional; read `into` one that is there already."""
        size = next(self._sizes)
        part = np.empty(size // np.dtype(dtype).itemsize, dtype) if into is None else into
        if part.nbytes != size:
            raise ValueError("it does not fit together")
        content = _bytes(part)
        for first in range(0, size, _CHUNK):
            piece = content[first : first + _CHUNK]
            filled = 0
            while filled < len(piece):
                read = self._file.readinto(piece[filled:])
                if not read:
                    raise ValueError("it is not whole")
                filled += read
            self._digest.update(piece)
        return part

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None and self._file.read(_DIGEST) != self._digest.digest():
                raise ValueError("it does not match its checksum")


def _bytes(part: Array) -> memoryview:
    return memoryview(part.reshape(-1).view(np.uint8)) if part.size else memoryview(bytearray())  # type: ignore[arg-type]
