"""The files of an image tree, whether it is a folder or a zip file of one."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol

from exemplar.images import SUFFIXES, is_left_out
from exemplar_trainer.data.image_set import DatasetError

# Errors of reading one file. zipfile adds RuntimeError (encrypted) and NotImplementedError (unknown method).
UNREADABLE = (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


class Files(Protocol):
    """Files by their paths below the tree's root, with slashes."""

    def names(self) -> Iterator[str]:
        """Yield the path of every file."""
        ...

    def size(self, name: str) -> int:
        """Return how many bytes a file has, without reading it."""
        ...

    def read(self, name: str) -> bytes:
        """Return a file's content; safe to call from many threads."""
        ...


def open_files(root: Path) -> Files:
    """Open a folder or a zip file.

    Raises:
        DatasetError: it is neither, or a damaged zip file.
    """
    if root.is_dir():
        return _Folder(root)
    if zipfile.is_zipfile(root):
        return _Zip(root)
    refuse_missing(root)
    raise DatasetError(f"{root} is neither a folder nor a zip file")


def refuse_missing(root: Path) -> None:
    """Raise DatasetError when there is no folder and no file of this name."""
    if not root.exists():
        raise DatasetError(f"{root}: there is no such folder or zip file")


def is_image(name: str) -> bool:
    """Return whether a path below a tree's root is an image's; what is hidden or made by a system is none."""
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES and not any(map(is_left_out, path.parts))


class _Folder:
    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self) -> Iterator[str]:
        return (file.relative_to(self._root).as_posix() for file in self._root.rglob("*") if file.is_file())

    def size(self, name: str) -> int:
        return (self._root / name).stat().st_size

    def read(self, name: str) -> bytes:
        return (self._root / name).read_bytes()


class _Zip:
    def __init__(self, path: Path) -> None:
        try:
            self._archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, NotImplementedError) as error:
            raise DatasetError(f"{path} is a damaged zip file: {error}") from error

    def names(self) -> Iterator[str]:
        return (info.filename for info in self._archive.infolist() if not info.is_dir())

    def size(self, name: str) -> int:
        return self._archive.getinfo(name).file_size

    def read(self, name: str) -> bytes:
        return self._archive.read(name)  # zipfile locks the file that it shares
