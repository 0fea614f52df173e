"""A fingerprint of the classes and images that a run is of, so that it does not go on with others unnoticed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.data.split import Split


def fingerprint(parts: Split) -> str:
    """Return SHA-256, in hexadecimal digits, of every class's name, side of the split and number of images.

    It is the same for the same tree, wherever and in whatever form it lies.
    """
    lines = sorted([*_counted("training", parts.training), *_counted("held out", parts.held_out)])
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _counted(side: str, images: ImageSet) -> Iterator[str]:
    for name, members in zip(images.class_names, images.members, strict=True):
        yield f"{side}\t{name}\t{len(members)}"
