"""The file that an archive is: a plain tar whose last member tells the SHA-256 of every other.

The same members give the same bytes: names, contents and nothing else. `tar` unpacks it, and `sha256sum --check
SHA256SUMS` then checks it.
"""

from __future__ import annotations

import hashlib
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, BinaryIO

SUMS = "SHA256SUMS"
_BLOCK = 512
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12x")
_END = bytes(2 * _BLOCK)
_IN_MEMORY = 8 * 1024 * 1024
_AT_ONCE = 1024 * 1024


class ArchiveError(Exception):
    """An archive cannot be read; the message is a sentence that says why."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive: where its content begins, how long it is, and its SHA-256."""

    name: str
    start: int
    size: int
    sha256: str


class MemberWriter:
    """Writes members one after the other; `finish` makes them an archive, and `close` ends it either way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sums = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - `close` closes it

    def add(self, name: str, content: bytes, sha256: str = "") -> None:
        """Write a member; give its SHA-256 where it is known."""
        self._file.write(_header(name, len(content)))
        self._file.write(content)
        self._file.write(bytes(-len(content) % _BLOCK))
        self._sums.write(_sum(sha256 or hashlib.sha256(content).hexdigest(), name))

    def finish(self) -> None:
        """Write the last member and the end."""
        size = self._sums.tell()
        self._sums.seek(0)
        self._file.write(_header(SUMS, size))
        while part := self._sums.read(_AT_ONCE):
            self._file.write(part)
        self._file.write(bytes(-size % _BLOCK) + _END)

    def close(self) -> None:
        """Let go of what it kept; the file is the caller's."""
        self._sums.close()


def read_members(file: BinaryIO) -> Iterator[Member]:
    """Read an archive from its beginning to its end, and yield its members but the last.

    Raises:
        ArchiveError: it is none, or not whole, or some of it was changed. That is known for sure only once the last
            member was yielded.
    """
    start = 0
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as sums:
        while True:
            name, size = _read_header(file, start)
            start += _BLOCK
            if name == SUMS:
                break
            sha256 = _digest(file, size)
            sums.write(_sum(sha256, name))
            yield Member(name, start, size, sha256)
            _read_zeros(file, -size % _BLOCK, name)
            start += size + -size % _BLOCK
        sums.seek(0)
        _compare(file, size, sums)
        _read_zeros(file, -size % _BLOCK, SUMS)
        _read_zeros(file, len(_END), "its end")
        if file.read(1):
            raise ArchiveError("something follows its end")


def _compare(file: BinaryIO, size: int, found: IO[bytes]) -> None:
    """Compare the sums that were written with those that were found, line by line."""
    left = size
    damaged = []
    while left:
        expected = file.readline(left)
        if not expected:
            raise _cut_off()
        left -= len(expected)
        actual = found.readline()
        if expected != actual:
            damaged.append((actual or expected)[66:].decode("utf-8", "backslashreplace").strip())
    damaged += [line[66:].decode().strip() for line in found.readlines()]
    if damaged:
        more = f" and {len(damaged) - 5:,} more" if len(damaged) > 5 else ""
        raise ArchiveError(f"the SHA-256 of {', '.join(damaged[:5])}{more} is not what {SUMS} says")


def _header(name: str, size: int) -> bytes:
    """Return the block before a member (POSIX.1-1988, "ustar"); the folder has a field of its own."""
    folder, _, last = name.encode("ascii").rpartition(b"/")
    fixed = b"0000644", b"0000000", b"0000000", b"%011o" % size, b"%011o" % 0
    rest = b"0", b"", b"ustar", b"00", b"", b"", b"", b"", folder
    unsigned = _HEADER.pack(last, *fixed, b"        ", *rest)
    return _HEADER.pack(last, *fixed, b"%06o\0 " % sum(unsigned), *rest)


def _read_header(file: BinaryIO, start: int) -> tuple[str, int]:
    block = file.read(_BLOCK)
    if len(block) < _BLOCK or block == bytes(_BLOCK):
        raise _cut_off() if start else ArchiveError("it is no archive of this program's")
    try:
        fields = _HEADER.unpack(block)
        last, folder = fields[0].rstrip(b"\0").decode("ascii"), fields[-1].rstrip(b"\0").decode("ascii")
        name, size = f"{folder}/{last}" if folder else last, int(fields[4].rstrip(b"\0"), 8)
        if block == _header(name, size):
            return name, size
    except ValueError:
        pass
    raise ArchiveError(f"the header at byte {start:,} is damaged" if start else "it is no archive of this program's")


def _digest(file: BinaryIO, size: int) -> str:
    digest = hashlib.sha256()
    while size:
        part = file.read(min(size, _AT_ONCE))
        if not part:
            raise _cut_off()
        digest.update(part)
        size -= len(part)
    return digest.hexdigest()


def _read_zeros(file: BinaryIO, count: int, name: str) -> None:
    found = file.read(count)
    if len(found) < count:
        raise _cut_off()
    if found != bytes(count):
        raise ArchiveError(f"there is something behind {name} that does not belong there")


def _cut_off() -> ArchiveError:
    return ArchiveError("it is cut off: it was not written to its end")


def _sum(sha256: str, name: str) -> bytes:
    return f"{sha256}  {name}\n".encode()
