"""A folder of images as a source.

An image directly in the folder is a class named by its file (`penny-black.png`). A folder below that holds images is
a class named by its path, and its first image by name stands for it (`stamps/penny-black/1.jpg`). Ids may hold no
'/', so a nested folder's path is joined with ':' (`stamps:penny-black`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from exemplar.images import SUFFIXES
from exemplar.names import folder_class_id
from exemplar_indexer.items import Item, Problem, SourceEntry, checked


def folder_entries(folder: Path) -> Iterator[SourceEntry]:
    """Yield a class for each image in `folder` and for each folder of images below it, by name from A to Z.

    The same pictures come in the same order on every machine.
    """
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=_name):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _classes(Path(entry.path), folder)
            elif Path(entry.name).suffix.lower() in SUFFIXES:
                yield checked(Item(Path(entry.name).stem, entry.path, entry.path))


def _classes(folder: Path, root: Path) -> Iterator[SourceEntry]:
    first: str | None = None
    try:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=_name):
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    yield from _classes(Path(entry.path), root)
                elif Path(entry.name).suffix.lower() in SUFFIXES:
                    first = entry.path if first is None else min(first, entry.path)
    except OSError as error:
        yield Problem(str(folder), "FOLDER_UNREADABLE", f"the folder cannot be read: {error.strerror}")
        return
    if first is not None:
        yield checked(Item(folder_class_id(folder.relative_to(root).parts), first, first))


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name
