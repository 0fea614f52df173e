"""A folder of images as a source.

An image directly in the folder is a class named by its file (`penny-black.png`). A folder below that holds images is
a class named by its path, and its first image by name stands for it (`stamps/penny-black/1.jpg`). Ids may hold no
'/', so a nested folder's path is joined with ':' (`stamps:penny-black`).

Links are followed to files and to folders, at every level. Nothing is a class twice: a link to a class that the
source holds itself, to one that an earlier link led to, or to a folder above is left out. So are hidden files and
folders, and those that systems make (`@eaDir`). What is left out is told.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from exemplar.images import SUFFIXES, is_left_out
from exemplar.names import folder_class_id
from exemplar_indexer.items import Item, Problem, SourceEntry, checked

_SHOWN = 5


@dataclass
class LeftOut:
    """What of a folder is no part of the source.

    Attributes:
        count: Files and folders.
        such_as: The first of them, each with the reason.
        others: Files that are no images by their names.
        other_names: The first of those.
    """

    count: int = 0
    such_as: list[str] = field(default_factory=list)
    others: int = 0
    other_names: list[str] = field(default_factory=list)

    def add(self, path: str, why: str) -> None:
        """Add a file or folder."""
        self.count += 1
        if len(self.such_as) < _SHOWN:
            self.such_as.append(f"{path} ({why})")

    def add_other(self, path: str) -> None:
        """Add a file that is no image by its name."""
        self.others += 1
        if len(self.other_names) < _SHOWN:
            self.other_names.append(path)


def folder_entries(folder: Path, left_out: LeftOut) -> Iterator[SourceEntry]:
    """Yield a class for each image in `folder` and for each folder of images below it, by name from A to Z.

    The same pictures come in the same order on every machine. `left_out` is told what is no part of it.
    """
    return _Walk(folder, left_out).entries()


class _Walk:
    """One way through a folder."""

    def __init__(self, root: Path, left_out: LeftOut) -> None:
        self._root = root
        self._left_out = left_out
        # The folders that are walked from, by their real paths, and the files that links at the top led to.
        self._begun = [Path(os.path.realpath(root))]
        self._files: set[str] = set()

    def entries(self) -> Iterator[SourceEntry]:
        yield from self._below(self._root, lambda path: checked(Item(Path(path).stem, path, path)))

    def _below(self, folder: Path, on_image: Callable[[str], SourceEntry | None]) -> Iterator[SourceEntry]:
        """Yield the classes of a folder's folders, and what `on_image` makes of its images, by name."""
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            yield _unreadable(str(folder), f"the folder cannot be read: {error.strerror}")
            return
        for entry in entries:
            if is_left_out(entry.name):
                if Path(entry.name).suffix.lower() in SUFFIXES or _is_folder(entry):
                    self._left_out.add(entry.path, "hidden, or made by a system")
            elif _is_folder(entry):
                if why := self._why_not(entry, folder == self._root):
                    self._left_out.add(entry.path, why)
                else:
                    yield from self._class(Path(entry.path))
            elif Path(entry.name).suffix.lower() in SUFFIXES:
                if folder == self._root and (why := self._why_not(entry, at_top=True)):
                    self._left_out.add(entry.path, why)
                elif made := on_image(entry.path):
                    yield made
            elif entry.is_symlink() and not Path(entry.path).exists():
                yield _unreadable(entry.path, "the link leads nowhere")
            else:
                self._left_out.add_other(entry.path)

    def _class(self, folder: Path) -> Iterator[SourceEntry]:
        images: list[str] = []

        def first(path: str) -> None:
            if not images:
                images.append(path)

        yield from self._below(folder, first)
        if images:
            yield checked(Item(folder_class_id(folder.relative_to(self._root).parts), images[0], images[0]))

    def _why_not(self, entry: os.DirEntry[str], at_top: bool) -> str | None:
        """Return why a folder, or an image at the top, is no class of its own; None when it is one."""
        linked = entry.is_symlink()
        if not linked and len(self._begun) == 1:
            return None
        real = Path(os.path.realpath(entry.path))
        if not linked:
            return "a link led to it" if real in self._begun else None
        if _is_folder(entry):
            if self._begun[0].is_relative_to(real):
                return "a link to a folder above"
            if any(_leads_to(begun, real) for begun in self._begun):
                return "a link to a folder that is read already"
            self._begun.append(real)
            return None
        within = at_top and real.parent == self._begun[0] and not is_left_out(real.name)
        if str(real) in self._files or (within and real.suffix.lower() in SUFFIXES):
            return "a link to an image that is read already"
        self._files.add(str(real))
        return None


def _leads_to(begun: Path, real: Path) -> bool:
    """Return whether a walk that began at a folder comes to another without links."""
    return real.is_relative_to(begun) and not any(map(is_left_out, real.relative_to(begun).parts))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself: reading it will say so
        return False


def _unreadable(path: str, why: str) -> Problem:
    return Problem(path, "FOLDER_UNREADABLE", why)
