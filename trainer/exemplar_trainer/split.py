"""Which classes are held out from training: whole groups where there are groups, else classes; never images.

The rule is fixed, not drawn: every fifth name in sorted order. Figures then compare from one day, machine and seed
to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exemplar_trainer.dataset import DatasetError, ImageSet

EVERY = 5


@dataclass(frozen=True)
class Split:
    """Two sets without a class in common, and the names of what was held out (groups, or classes without groups)."""

    training: ImageSet
    held_out: ImageSet
    held_out_names: tuple[str, ...]


def split(images: ImageSet, hold_out: Sequence[str] = ()) -> Split:
    """Hold out classes.

    Args:
        images: the whole set.
        hold_out: groups to hold out by name; when empty, every fifth group from the first (positions 0, 5, 10 ... of
            the sorted names), or every fifth class when there are fewer than 2 groups.

    Raises:
        DatasetError: a name is no group of the set, or too little is left on one side.
    """
    grouped = len(images.classes_by_group) >= 2
    names = sorted(images.classes_by_group) if grouped else list(images.class_names)
    unknown = sorted(set(hold_out) - set(names))
    if unknown:
        raise DatasetError(f"cannot hold out {', '.join(unknown)}: the set has {', '.join(names[:12])} ...")
    chosen = tuple(hold_out) or tuple(names[::EVERY])
    of_class = images.groups if grouped else images.class_names
    held = [index for index, name in enumerate(of_class) if name in set(chosen)]
    rest = sorted(set(range(len(images.class_names))) - set(held))
    if len(held) < 2 or len(rest) < 2:
        raise DatasetError(
            f"holding out {', '.join(chosen)} leaves {len(rest)} classes to train on and {len(held)} to measure on; "
            "each side needs at least 2"
        )
    return Split(images.only(rest), images.only(held), chosen)
