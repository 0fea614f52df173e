"""Galleries copied into a truth, so that they end as they were: times, revisions, etags and kept responses too.

A gallery that is being copied has the model `unfinished` until all of it is there and was compared with where it
comes from, so that no server answers from half of it. Whoever runs the same copy again completes what is unfinished:
what is there and agrees stays, and the rest is loaded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Literal

from exemplar_server.errors import AlreadyExistsError, DataLossError, NotFoundError
from exemplar_server.store.records import ClassCopy, Gallery
from exemplar_server.store.truth.sql_truth import SqlTruth
from exemplar_server.transfer.archive import Carried
from exemplar_server.transfer.comparing import class_difference, class_differences, gallery_difference
from exemplar_server.transfer.source import UNFINISHED, Source, TruthSource, batches

Outcome = Literal["copied", "completed", "there already"]

# Told with what is going on, and how many more classes of it are done.
Advance = Callable[[str, int], None]


def copy_galleries(
    source: Source, target: SqlTruth, name: str, advance: Advance
) -> tuple[list[tuple[Carried, Outcome]], int]:
    """Copy all that a source has into a truth, and compare every row.

    Args:
        source: what to copy; it must not change meanwhile.
        target: where to; others may use other galleries of it.
        name: what people call the target by.
        advance: is told what is done.

    Returns:
        How much there is of each gallery and what was done about it, and how many responses are kept.

    Raises:
        AlreadyExistsError: a gallery of the same id is there, and is another; nothing was changed.
        DataLossError: what was copied is not what is there.
        ServiceError: one of both cannot be read or written.
    """
    galleries = source.galleries()
    there = {gallery.id: _there(target, gallery, name) for gallery in galleries}
    count = _copy_responses(source, target)
    return [(*_copy(source, target, name, gallery, there[gallery.id], advance),) for gallery in galleries], count


def _there(target: SqlTruth, gallery: Gallery, name: str) -> Gallery | None:
    """Return the gallery of the same id that is there, where this copy may go on with it."""
    try:
        there = target.get_gallery(gallery.id)
    except NotFoundError:
        return None
    if there.model != UNFINISHED and (different := gallery_difference(gallery, there)):
        raise AlreadyExistsError(
            "GALLERY_EXISTS",
            f"there is another gallery {gallery.id!r} in {name} (its {different} differ); nothing was changed: "
            "delete it there, or take other galleries with --gallery",
            {"gallery": gallery.id},
        )
    return there


def _copy(
    source: Source, target: SqlTruth, name: str, gallery: Gallery, there: Gallery | None, advance: Advance
) -> tuple[Carried, Outcome]:
    outcome: Outcome = "copied"
    if there is None:
        target.load_gallery(dataclasses.replace(gallery, model=UNFINISHED))
        _load(target, gallery.id, source.classes(gallery.id), advance)
    elif there.model == UNFINISHED:
        outcome = "completed"
        _load(target, gallery.id, _rest(source, target, gallery, advance), advance)
    else:
        outcome = "there already"
    carried = Carried(gallery.id)
    _compare(_Counted(source, carried), target, name, gallery, advance)
    if carried.classes != gallery.class_count:
        raise DataLossError(
            "DATA_CORRUPT",
            f"gallery {gallery.id!r} of {source.name} has {carried.classes:,} classes where {gallery.class_count:,} "
            "were stored",
            {"gallery": gallery.id},
        )
    if outcome != "there already":
        target.finish_load(gallery)
    return carried, outcome


def _load(target: SqlTruth, gallery: str, classes: Iterator[ClassCopy], advance: Advance) -> None:
    for batch in batches(classes):
        target.load_classes(gallery, batch)
        advance("copied", len(batch))


def _rest(source: Source, target: SqlTruth, gallery: Gallery, advance: Advance) -> Iterator[ClassCopy]:
    """Return the classes that an earlier run did not load: all, into an empty gallery, where it loaded others."""
    classes = source.classes(gallery.id)
    for there in TruthSource(target, "").classes(gallery.id):
        of = next(classes, None)
        if of is None or class_difference(of, there):
            target.delete_gallery(gallery.id, force=True)
            target.load_gallery(dataclasses.replace(gallery, model=UNFINISHED))
            return source.classes(gallery.id)
        advance("copied", 1)
    return classes


def _compare(source: Source, target: SqlTruth, name: str, gallery: Gallery, advance: Advance) -> None:
    different = class_differences(
        source, TruthSource(target, name), gallery.id, lambda count: advance("compared", count)
    )
    if different:
        raise DataLossError(
            "DATA_CORRUPT",
            f"gallery {gallery.id!r} of {source.name} is not the same in {name}: " + "; ".join(different),
            {"gallery": gallery.id},
        )


def _copy_responses(source: Source, target: SqlTruth) -> int:
    """Take responses over, before the galleries are usable: whoever repeats a request then is answered as before."""
    count = 0
    page = []
    for response in source.responses():
        page.append(response)
        count += 1
        if len(page) == 1000:
            target.load_responses(page)
            page = []
    target.load_responses(page)
    return count


class _Counted:
    """A source whose classes are counted as they are read."""

    def __init__(self, source: Source, carried: Carried) -> None:
        self.name = source.name
        self.galleries = source.galleries
        self.responses = source.responses
        self._source = source
        self._carried = carried

    def classes(self, gallery: str) -> Iterator[ClassCopy]:
        for of in self._source.classes(gallery):
            self._carried.count(of)
            yield of
