"""Reads a tree of images, `.../<class>/<image>`, into memory.

The folder that holds an image is its class; the folders above are the class's group (such as an alphabet), unless a
file `classes.csv` at the top, with the columns class and group, says otherwise; what follows the last `_` of a file's
name is its source (such as a drawer or a design). A zip file reads like the folder it was made from. Images pass
through the encoder's own preparation, so training sees what serving will see.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from exemplar.images import SUFFIXES
from exemplar_encoder import EncodedImage, ImageError, ImageLimits, Preparation, Preprocessing
from exemplar_encoder.arrays import Pixels
from exemplar_trainer.data.files import UNREADABLE, Files, is_image, open_files
from exemplar_trainer.data.image_set import DatasetError, ImageSet
from exemplar_trainer.data.split import LEAST_HELD_OUT_CLASSES, LEAST_TRAINING_CLASSES
from exemplar_trainer.data.wording import abridged, plural

GROUPS = "classes.csv"

_CHUNK = 512

_LEAST_CLASSES = LEAST_TRAINING_CLASSES + LEAST_HELD_OUT_CLASSES

OnCount = Callable[[int, int], None]
"""Told how many are done, and of how many."""


def uncounted(done: int, total: int) -> None:
    """Tell nobody how many are done."""


def read_data_set(
    root: Path, spec: Preprocessing, max_unreadable: int = 20, on_count: OnCount = uncounted
) -> ImageSet:
    """Read a folder or a zip file of images to train on, or to measure and calibrate with; see `read_images`.

    Raises:
        DatasetError: as `read_images`; too few classes to train on some and measure on others, or a class with one
            image.
    """
    images = read_images(root, spec, max_unreadable, on_count)
    single = [name for name, members in zip(images.class_names, images.members, strict=True) if len(members) < 2]
    if single:
        raise DatasetError(
            f"{root}: a class needs at least two readable images to train on, but these have one: {abridged(single)}"
        )
    count = len(images.class_names)
    if count < _LEAST_CLASSES:
        raise DatasetError(
            f"{root} holds {plural(count, 'class', 'classes')}; "
            f"training and held-out classes need at least {_LEAST_CLASSES}"
        )
    return images


def read_images(root: Path, spec: Preprocessing, max_unreadable: int = 20, on_count: OnCount = uncounted) -> ImageSet:
    """Read a folder or a zip file of images, however few.

    Args:
        root: the folder or zip file.
        spec: how images become the network's input.
        max_unreadable: how many images may be skipped; one more is an error.
        on_count: told of images read and images in all.

    Raises:
        DatasetError: no images, a class with none that can be read, images outside a class, too many that are
            unreadable, or a `classes.csv` that is something else.
    """
    files = open_files(root)
    there = set(files.names())
    names = sorted(name for name in there if is_image(name))
    if not names:
        raise DatasetError(f"{root} holds no images ({', '.join(sorted(SUFFIXES))}); expected .../<class>/<image>")
    folders = {PurePosixPath(name).parent for name in names}
    top = _common_folder(folders)
    if len(folders) == 1 and folders != {PurePosixPath()}:
        top = top.parent  # of a single class
    loose = [name for name in names if PurePosixPath(name).parent == top]
    if loose:
        raise DatasetError(f"{root}: every image needs a class folder, but these have none: {abridged(loose)}")
    read = _read_each(root, files, names, spec, max_unreadable, on_count)
    gone = sorted(folders - {PurePosixPath(name).parent for name in read.names})
    if gone:
        lost = abridged([folder.relative_to(top).as_posix() for folder in gone])
        raise DatasetError(
            f"{root}: no image of these classes can be read: {lost}. The first reason: {read.skipped[0]}"
        )
    return _assemble(top, read, _read_groups(root, files, there, top, folders))


@dataclass
class _Read:
    """Names and pixels of the images that could be read, in order, and the reasons of those that could not."""

    names: list[str] = field(default_factory=list)
    pixels: list[Pixels] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def _read_each(
    root: Path, files: Files, names: Sequence[str], spec: Preprocessing, max_unreadable: int, on_count: OnCount
) -> _Read:
    limits = ImageLimits()
    prepare = Preparation(spec, limits)

    def read(name: str) -> Pixels | str:
        try:
            if files.size(name) > limits.max_bytes:  # before it is read, or unpacked from almost nothing
                return f"{name}: the image has {files.size(name):,} bytes; the limit is {limits.max_bytes:,}"
            return prepare(EncodedImage(files.read(name))).pixels
        except (ImageError, *UNREADABLE) as error:
            return f"{name}: {error}"

    found = _Read()
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(names), _CHUNK):
            chunk = names[start : start + _CHUNK]
            for name, result in zip(chunk, pool.map(read, chunk), strict=True):
                if isinstance(result, str):
                    found.skipped.append(result)
                else:
                    found.names.append(name)
                    found.pixels.append(result)
            if len(found.skipped) > max_unreadable:
                limit = f"{root}: more than {max_unreadable} images cannot be read"
                raise DatasetError(f"{limit}: {abridged(found.skipped)}")
            on_count(start + len(chunk), len(names))
    return found


def _read_groups(
    root: Path, files: Files, there: set[str], top: PurePosixPath, folders: set[PurePosixPath]
) -> dict[str, str]:
    """Return groups by class, from the `classes.csv` nearest above the classes; empty where there is none."""
    for folder in (top, *top.parents):
        name = (folder / GROUPS).as_posix()
        if name not in there:
            continue
        try:
            rows = csv.DictReader(io.StringIO(files.read(name).decode("utf-8-sig"), newline=""))
            found = {row["class"]: row["group"] or "" for row in rows}
        except KeyError as error:
            raise DatasetError(f"{root}: {name} has no column {error}; it needs class and group") from error
        except (*UNREADABLE, UnicodeDecodeError, csv.Error) as error:
            raise DatasetError(f"{root}: {name} cannot be read: {error}") from error
        known = {folder.relative_to(top).as_posix() for folder in folders}
        if not known.intersection(found):
            raise DatasetError(
                f"{root}: {name} names none of the classes; it has {abridged(sorted(found)) or 'no rows'}, "
                f"the folders are {abridged(sorted(known))}"
            )
        return found
    return {}


def _assemble(top: PurePosixPath, read: _Read, group_of: Mapping[str, str]) -> ImageSet:
    paths = [PurePosixPath(name).relative_to(top) for name in read.names]
    classes = sorted({path.parent.as_posix() for path in paths})
    position = {name: index for index, name in enumerate(classes)}
    groups = (group_of.get(name, PurePosixPath(name).parent.as_posix()) for name in classes)
    return ImageSet(
        pixels=np.stack(read.pixels),
        labels=np.array([position[path.parent.as_posix()] for path in paths], dtype=np.int64),
        class_names=tuple(classes),
        groups=tuple("" if group == "." else group for group in groups),
        sources=tuple(path.stem.rsplit("_", 1)[-1] for path in paths),
        paths=tuple(path.as_posix() for path in paths),
        skipped=tuple(read.skipped),
    )


def _common_folder(folders: set[PurePosixPath]) -> PurePosixPath:
    """Return the deepest folder above all classes; an archive's wrapping folder is no group."""
    first, last = min(folders).parts, max(folders).parts
    shared = 0
    while shared < min(len(first), len(last)) and first[shared] == last[shared]:
        shared += 1
    return PurePosixPath(*first[:shared])
