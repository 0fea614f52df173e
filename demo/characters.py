"""The characters, or things in photographs, that a demonstration enrolls and asks about.

The first image of each is its exemplar, its others are queries. In Omniglot each image of a character is by another
drawer, and the first is the same drawer's throughout an alphabet.
"""

from __future__ import annotations

import zipfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class Character:
    """One character of an alphabet, or a thing, of none: its exemplar, and other images of it."""

    alphabet: str
    name: str
    exemplar: Path
    queries: tuple[Path, ...]

    @property
    def class_id(self) -> str:
        """Id in a gallery."""
        return f"{self.alphabet}.{self.name}" if self.alphabet else self.name

    @property
    def display_name(self) -> str:
        """For people."""
        return f"{self.alphabet.replace('_', ' ')} {self.name.removeprefix('character')}".strip()


def read_characters(source: Path, scratch: Path, alphabets: Sequence[str]) -> list[Character]:
    """Read the characters of these alphabets (of all, when none is named), from a folder or a zip file.

    Args:
        source: a tree `.../<Alphabet>/<character>/<id>_<drawer>.png`, folder or zip.
        scratch: where a zip's images are unpacked.
        alphabets: which alphabets; names that the source does not have are ignored.
    """
    root = source if source.is_dir() else _unpack(source, scratch, set(alphabets))
    by_class: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for path in sorted(root.rglob("*.png")):
        alphabet, name = path.parts[-3], path.parts[-2]
        if not alphabets or alphabet in alphabets:
            by_class[alphabet, name].append(path)
    return [
        Character(alphabet, name, images[0], tuple(images[1:]))
        for (alphabet, name), images in sorted(by_class.items())
        if len(images) > 1
    ]


def _unpack(archive: Path, scratch: Path, alphabets: set[str]) -> Path:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            parts = PurePosixPath(info.filename).parts
            if len(parts) < 3 or not parts[-1].endswith(".png") or "__MACOSX" in parts:
                continue
            if not alphabets or parts[-3] in alphabets:
                target = scratch.joinpath(*parts[-3:])
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(opened.read(info))
    return scratch
