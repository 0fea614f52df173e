"""Which classes and images a run is of, in a line, so that it does not go on with others unnoticed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.data.split import Split


@dataclass(frozen=True)
class Fingerprint:
    """SHA-256, as hexadecimal digits.

    Attributes:
        training_classes: of the names of the classes that the split leaves to train on: what class weights stand for.
        images: of every class's name, side of the split and number of images.
    """

    training_classes: str
    images: str

    @classmethod
    def of(cls, parts: Split) -> Self:
        """The same for the same tree, wherever and in whatever form it lies."""
        return cls(
            _digest(parts.training.class_names),
            _digest([*_counted("training", parts.training), *_counted("held out", parts.held_out)]),
        )


def _counted(side: str, images: ImageSet) -> Iterator[str]:
    for name, members in zip(images.class_names, images.members, strict=True):
        yield f"{side}\t{name}\t{len(members)}"


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()
