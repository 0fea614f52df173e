"""A tree of images, `.../<class>/<image>`, as arrays in memory.

The folder that holds an image is its class; the folders above are the class's group (such as an alphabet), unless a
file `classes.csv` at the top, with the columns class and group, says otherwise; what follows the last `_` of a file's
name is its source (such as a drawer or a design). A zip file reads like the folder it was made from. Images pass
through the encoder's own decode and preprocess, so training sees what serving will see.
"""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from exemplar_encoder import ImageError, ImageLimits, Preprocessing, decode, preprocess

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})

GROUPS = "classes.csv"

_CHUNK = 512

# Two classes make pairs; on four a calibration can be fitted to two and judged by the other two.
LEAST_TRAINING_CLASSES = 2
LEAST_HELD_OUT_CLASSES = 4
_LEAST_CLASSES = LEAST_TRAINING_CLASSES + LEAST_HELD_OUT_CLASSES

# What reading one image can raise. zipfile adds RuntimeError (encrypted) and NotImplementedError (unknown method).
_UNREADABLE = (ImageError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


class DatasetError(Exception):
    """A data set that cannot be used as asked; the message names the paths."""


@dataclass(frozen=True)
class ImageSet:
    """Images with their classes, groups and sources.

    Attributes:
        pixels: uint8 `[n, height, width, channels]`, preprocessed.
        labels: int64 `[n]`, positions in `class_names`.
        class_names: path of each class below the set's root, sorted.
        groups: group of each class; empty where a class lies directly below the root.
        sources: source of each image.
        paths: path of each image below the set's root.
        skipped: images that could not be read, with the reason.
    """

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    class_names: tuple[str, ...]
    groups: tuple[str, ...]
    sources: tuple[str, ...]
    paths: tuple[str, ...]
    skipped: tuple[str, ...] = field(default=())

    @cached_property
    def members(self) -> list[npt.NDArray[np.int64]]:
        """For each class, the positions of its images."""
        order = np.argsort(self.labels, kind="stable")
        bounds = np.cumsum(np.bincount(self.labels, minlength=len(self.class_names)))[:-1]
        return np.split(order, bounds)

    @cached_property
    def sources_of(self) -> list[dict[str, int]]:
        """For each class, the position of its image by each source; of several the last."""
        return [{self.sources[image]: int(image) for image in members} for members in self.members]

    @cached_property
    def classes_by_group(self) -> dict[str, npt.NDArray[np.int64]]:
        """For each group, its classes."""
        found = defaultdict(list)
        for index, group in enumerate(self.groups):
            found[group].append(index)
        return {group: np.array(classes) for group, classes in sorted(found.items())}

    def only(self, classes: Sequence[int]) -> ImageSet:
        """The set of these classes alone, relabeled in the order of their names."""
        kept = sorted(classes)
        position = {label: index for index, label in enumerate(kept)}
        images = np.flatnonzero(np.isin(self.labels, kept))
        return ImageSet(
            pixels=self.pixels[images],
            labels=np.array([position[int(label)] for label in self.labels[images]], dtype=np.int64),
            class_names=tuple(self.class_names[label] for label in kept),
            groups=tuple(self.groups[label] for label in kept),
            sources=tuple(self.sources[image] for image in images),
            paths=tuple(self.paths[image] for image in images),
        )


def load_images(
    root: Path,
    spec: Preprocessing,
    max_unreadable: int = 20,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ImageSet:
    """Read a folder or a zip file of images to train on; arguments as for `read_images`.

    Raises:
        DatasetError: as `read_images`; too few classes to train on some and measure on others, or a class with one
            image.
    """
    images = read_images(root, spec, max_unreadable, progress)
    single = [name for name, members in zip(images.class_names, images.members, strict=True) if len(members) < 2]
    if single:
        raise DatasetError(
            f"{root}: a class needs at least two readable images to train on, but these have one: {some(single)}"
        )
    count = len(images.class_names)
    if count < _LEAST_CLASSES:
        raise DatasetError(
            f"{root} holds {count} class{'es' if count > 1 else ''}; "
            f"training and held-out classes need at least {_LEAST_CLASSES}"
        )
    return images


def read_images(
    root: Path,
    spec: Preprocessing,
    max_unreadable: int = 20,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ImageSet:
    """Read a folder or a zip file of images, however few.

    Args:
        root: the folder or zip file.
        spec: how images become the network's input.
        max_unreadable: so many images may be skipped; one more is an error.
        progress: called with images read and images in all.

    Raises:
        DatasetError: no images, a class with none that can be read, images outside a class, too many that are
            unreadable, or a `classes.csv` that is something else.
    """
    if root.is_dir():
        files: _Folder | _Zip = _Folder(root)
    elif zipfile.is_zipfile(root):
        files = _Zip(root)
    elif not root.exists():
        raise DatasetError(f"{root}: there is no such folder or zip file")
    else:
        raise DatasetError(f"{root} is neither a folder nor a zip file")
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
        raise DatasetError(f"{root}: every image needs a class folder, but these have none: {some(loose)}")

    limits = ImageLimits()

    def read(name: str) -> npt.NDArray[np.uint8] | str:
        try:
            if files.size(name) > limits.max_bytes:  # before it is read, or unpacked from almost nothing
                return f"{name}: the image has {files.size(name):,} bytes; the limit is {limits.max_bytes:,}"
            image = decode(files.read(name), limits, spec.background)
        except _UNREADABLE as error:
            return f"{name}: {error}"
        return preprocess(image.pixels, spec)

    kept: list[str] = []
    pixels: list[npt.NDArray[np.uint8]] = []
    skipped: list[str] = []
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(names), _CHUNK):
            chunk = names[start : start + _CHUNK]
            for name, result in zip(chunk, pool.map(read, chunk), strict=True):
                if isinstance(result, str):
                    skipped.append(result)
                else:
                    kept.append(name)
                    pixels.append(result)
            if len(skipped) > max_unreadable:
                raise DatasetError(f"{root}: more than {max_unreadable} images cannot be read: {some(skipped)}")
            progress(start + len(chunk), len(names))
    gone = sorted({PurePosixPath(name).parent for name in names} - {PurePosixPath(name).parent for name in kept})
    if gone:
        lost = some([folder.relative_to(top).as_posix() for folder in gone])
        raise DatasetError(f"{root}: no image of these classes can be read: {lost}. The first reason: {skipped[0]}")
    return _assemble(top, kept, pixels, skipped, _read_groups(root, files, there, top, folders))


def _read_groups(
    root: Path, files: _Folder | _Zip, there: set[str], top: PurePosixPath, folders: set[PurePosixPath]
) -> dict[str, str]:
    """Groups by class, from the `classes.csv` nearest above the classes; empty where there is none."""
    for folder in (top, *top.parents):
        name = (folder / GROUPS).as_posix()
        if name not in there:
            continue
        try:
            rows = csv.DictReader(io.StringIO(files.read(name).decode("utf-8-sig"), newline=""))
            found = {row["class"]: row["group"] or "" for row in rows}
        except KeyError as error:
            raise DatasetError(f"{root}: {name} has no column {error}; it needs class and group") from error
        except (*_UNREADABLE, UnicodeDecodeError, csv.Error) as error:
            raise DatasetError(f"{root}: {name} cannot be read: {error}") from error
        known = {folder.relative_to(top).as_posix() for folder in folders}
        if not known.intersection(found):
            raise DatasetError(
                f"{root}: {name} names none of the classes; it has {some(sorted(found)) or 'no rows'}, "
                f"the folders are {some(sorted(known))}"
            )
        return found
    return {}


def _assemble(
    top: PurePosixPath,
    names: list[str],
    pixels: list[npt.NDArray[np.uint8]],
    skipped: list[str],
    group_of: dict[str, str],
) -> ImageSet:
    paths = [PurePosixPath(name).relative_to(top) for name in names]
    classes = sorted({path.parent.as_posix() for path in paths})
    position = {name: index for index, name in enumerate(classes)}
    labels = np.array([position[path.parent.as_posix()] for path in paths], dtype=np.int64)
    groups = (group_of.get(name, PurePosixPath(name).parent.as_posix()) for name in classes)
    return ImageSet(
        pixels=np.stack(pixels),
        labels=labels,
        class_names=tuple(classes),
        groups=tuple("" if group == "." else group for group in groups),
        sources=tuple(path.stem.rsplit("_", 1)[-1] for path in paths),
        paths=tuple(path.as_posix() for path in paths),
        skipped=tuple(skipped),
    )


def is_image(name: str) -> bool:
    """Whether a path below a set's root is that of an image; hidden files and archives' leftovers are none."""
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden


def _common_folder(folders: set[PurePosixPath]) -> PurePosixPath:
    """The deepest folder above all classes; an archive's wrapping folder is no group."""
    first, last = min(folders).parts, max(folders).parts
    shared = 0
    while shared < min(len(first), len(last)) and first[shared] == last[shared]:
        shared += 1
    return PurePosixPath(*first[:shared])


def some(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are."""
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


class _Folder:
    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> Iterator[str]:
        return (file.relative_to(self.root).as_posix() for file in self.root.rglob("*") if file.is_file())

    def size(self, name: str) -> int:
        return (self.root / name).stat().st_size

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()


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
        return self._archive.read(name)  # safe from many threads: zipfile locks the shared file
