"""A folder as it was at any moment of a traced process, and as a loss of power could have left it then.

The model is what POSIX promises and no more. Data that was not synced may be there, or not, or in part, sector by
sector and in any order; so may a change of a file's length. A name that was made, changed or removed is so for sure
only once its folder was synced; before that, some first part of a folder's changes may have reached the disk.
"""

from __future__ import annotations

import os
import random
import struct
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_HEAD = struct.Struct("<cHHqq")
_SECTOR = 512
SOURCE = Path(__file__).with_name("tracing.c")


@dataclass(frozen=True)
class Step:
    """What was done: `c`reate, `w`rite, `t`runcate, `s`ync, `r`ename, `u`nlink, make a `d`irectory."""

    what: str
    path: str
    second: str
    offset: int
    data: bytes


def compiled(folder: Path) -> Path:
    """Compile the library that traces; raises `FileNotFoundError` where there is no compiler."""
    library = folder / "tracing.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl", "-pthread"]
    subprocess.run(command, check=True, capture_output=True)
    return library


def run_traced(library: Path, folder: Path, command: Sequence[str]) -> list[Step]:
    """Run a command and return what it did below a folder."""
    trace = folder.with_name(folder.name + ".trace")
    env = {**os.environ, "LD_PRELOAD": str(library), "TRACED": str(folder), "TRACE": str(trace)}
    subprocess.run(command, check=True, env=env, timeout=300)
    return list(_steps(trace.read_bytes(), str(folder)))


def _steps(content: bytes, root: str) -> Iterator[Step]:
    at = 0
    while at < len(content):
        what, first, second, offset, length = _HEAD.unpack_from(content, at)
        at += _HEAD.size
        names = [content[at : at + first].decode(), content[at + first : at + first + second].decode()]
        at += first + second
        size = length if what == b"w" else 0
        path, other = (name.removeprefix(root).lstrip("/") for name in names)
        yield Step(what.decode(), path, other, offset, content[at : at + size])
        at += size


@dataclass
class _File:
    """A file's content: what is on disk for sure, and what was done since."""

    synced: bytearray = field(default_factory=bytearray)
    now: bytearray = field(default_factory=bytearray)
    since: list[Step] = field(default_factory=list)

    def do(self, step: Step) -> None:
        _apply(self.now, step)
        self.since.append(step)

    def sync(self) -> None:
        self.synced, self.since = bytearray(self.now), []

    def after_a_loss(self, rng: random.Random) -> bytes:
        """Return what may be left of it."""
        left = bytearray(self.synced)
        for step in self.since:
            if step.what == "t":
                if rng.random() < 0.5:
                    _apply(left, step)
                continue
            for start in range(0, len(step.data), _SECTOR):
                if rng.random() < 0.5:
                    part = step.data[start : start + _SECTOR]
                    _apply(left, Step("w", step.path, "", step.offset + start, part))
        return bytes(left)


def _apply(content: bytearray, step: Step) -> None:
    end = step.offset + len(step.data) if step.what == "w" else step.offset
    if end > len(content):
        content.extend(bytes(end - len(content)))
    if step.what == "w":
        content[step.offset : end] = step.data
    else:
        del content[end:]


class Disk:
    """The folder while the steps are done one by one; `None` stands for a directory."""

    def __init__(self, before: Mapping[str, bytes | None] | None = None) -> None:
        """Begin with these files, all on disk for sure."""
        self._names: dict[str, _File | None] = {}
        for path, content in (before or {}).items():
            self._names[path] = None if content is None else _File(bytearray(content), bytearray(content))
        self._sure = dict(self._names)
        self._renamed: list[Step] = []  # changes of names that are not on disk for sure

    def do(self, step: Step) -> None:
        """Do a step."""
        if step.what in "wt":
            found = self._names.get(step.path)
            assert found is not None, f"{step.path} was not made"
            found.do(step)
        elif step.what == "s":
            self._sync(step.path)
        else:
            _name(self._names, step, _File() if step.what == "c" else None)
            self._renamed.append(step)

    def _sync(self, path: str) -> None:
        found = self._names.get(path)
        if found is not None:
            found.sync()
            return
        of_folder = [step for step in self._renamed if _folder(step.path) == path]
        for step in of_folder:
            self._make_sure(self._sure, step)
        self._renamed = [step for step in self._renamed if step not in of_folder]

    def _make_sure(self, names: dict[str, _File | None], step: Step) -> None:
        if step.what == "c":
            names[step.path] = self._made(step)
        else:
            _name(names, step, None)

    def _made(self, step: Step) -> _File:
        """Return the file that a step made, wherever it is by now."""
        found = self._names.get(step.path)
        for later in self._renamed:
            if later.what == "r" and later.path == step.path and later.second in self._names:
                found = self._names[later.second]
        return found if found is not None else _File()

    def as_it_is(self) -> dict[str, bytes | None]:
        """Return the folder as a process finds it that begins now."""
        return {path: None if file is None else bytes(file.now) for path, file in self._names.items()}

    def after_a_loss(self, rng: random.Random) -> dict[str, bytes | None]:
        """Return the folder as a loss of power may leave it."""
        names = dict(self._sure)
        reached: dict[str, int] = {}
        for folder in {_folder(step.path) for step in self._renamed}:
            mine = [step for step in self._renamed if _folder(step.path) == folder]
            reached[folder] = rng.randint(0, len(mine))
        for step in self._renamed:
            if reached[_folder(step.path)] > 0:
                reached[_folder(step.path)] -= 1
                self._make_sure(names, step)
        there = {path for path in names if all(above in names for above in _above(path))}
        return {path: None if (file := names[path]) is None else file.after_a_loss(rng) for path in sorted(there)}


def _name(names: dict[str, _File | None], step: Step, made: _File | None) -> None:
    if step.what in "cd":
        names[step.path] = made
    elif step.what == "u":
        names.pop(step.path, None)
    elif step.path in names:
        names[step.second] = names.pop(step.path)


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _above(path: str) -> Iterator[str]:
    while path := _folder(path):
        yield path


def put(folder: Path, files: Mapping[str, bytes | None]) -> Path:
    """Write a state into a new folder."""
    folder.mkdir(parents=True)
    for path, content in sorted(files.items()):
        if content is None:
            (folder / path).mkdir(parents=True, exist_ok=True)
        else:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
    return folder
