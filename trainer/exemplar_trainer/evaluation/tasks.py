"""The questions of an evaluation: images, and tasks that point at them."""

from __future__ import annotations

from dataclasses import dataclass

from exemplar_encoder.arrays import Ints, Pixels

NO_CLASS = -1
"""The truth of a query whose class is not among the task's."""


class EvaluationError(Exception):
    """Images that cannot be evaluated on; the message names the paths."""


@dataclass(frozen=True)
class Terms:
    """How questions came about, so that they can be asked again.

    Attributes:
        data: the folders or zip files that the images are from.
        groups: the groups or classes asked about; none for all.
        seed: of the draw; None where nothing was drawn.
    """

    data: tuple[str, ...]
    groups: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True)
class Task:
    """Name these queries, each on its own, given exemplars of some classes.

    Attributes:
        exemplars: positions of images, int64 `[way, shot]`.
        queries: positions of images, int64 `[queries]`.
        truth: for each query the row of its class in `exemplars`, or `NO_CLASS`; int64 `[queries]`.
        group: what the classes have in common, such as an alphabet; may be empty.
    """

    exemplars: Ints
    queries: Ints
    truth: Ints
    group: str = ""


@dataclass(frozen=True)
class Questions:
    """Tasks of one kind, on the images of one input format.

    Attributes:
        title: the kind in words.
        pixels: uint8 `[images, height, width, channels]`, preprocessed.
        names: for each image, where it was read.
        classes: for each image, its class.
        tasks: in the order in which they were drawn.
        groups: for each image, the group of its class; empty where none are known.
        notes: sentences that a reader of the figures should know, such as what was left out.
        same_source: how many known queries are by a source of their class's exemplars, as file names tell it; None
            where no sources are known.
    """

    title: str
    pixels: Pixels
    names: tuple[str, ...]
    classes: tuple[str, ...]
    tasks: tuple[Task, ...]
    groups: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    same_source: int | None = None
