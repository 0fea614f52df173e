"""Two sources compared row by row: settings, times, attributes, embeddings bit by bit, and images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from exemplar_server.store.records import ClassCopy, Gallery
from exemplar_server.transfer.source import Source

_SHOWN = 20


def gallery_difference(first: Gallery, second: Gallery) -> str:
    """Return in which fields two galleries differ, empty where they do not."""
    names = [field.name for field in dataclasses.fields(Gallery) if field.name != "calibration"]
    different = [name for name in names if getattr(first, name) != getattr(second, name)]
    calibrations = [None if each.calibration is None else each.calibration.to_json() for each in (first, second)]
    if calibrations[0] != calibrations[1]:
        different.append("calibration")
    return ", ".join(different)


def class_differences(
    source: Source, target: Source, gallery: str, advance: Callable[[int], None] = lambda _: None
) -> list[str]:
    """Return sentences on the first classes of a gallery that are not the same in both."""
    found = []
    for of, there in _side_by_side(source.classes(gallery), target.classes(gallery)):
        advance(1)
        if there is None:
            assert of is not None
            found.append(f"class {of.id!r} is not in {target.name}")
        elif of is None:
            found.append(f"class {there.id!r} is in {target.name} only")
        elif different := class_difference(of, there):
            found.append(f"class {of.id!r} is another in {target.name}: its {different}")
        if len(found) == _SHOWN:
            break
    return found


def class_difference(first: ClassCopy, second: ClassCopy) -> str:
    """Return in which fields two classes differ, empty where they do not."""
    facts, others = _facts(first), _facts(second)
    if facts == others:
        return ""
    return ", ".join(name for name in facts if facts[name] != others[name])


def _facts(of: ClassCopy) -> dict[str, Any]:
    return {
        "id": of.id,
        "display name": of.display_name,
        "attributes": dict(of.attributes),
        "times": (of.create_time, of.update_time),
        "embedding": of.embedding.tobytes(),
        "exemplars": [item.exemplar for item in of.exemplars],
        "exemplars' embeddings": [item.embedding.tobytes() for item in of.exemplars],
        "images": [item.image for item in of.exemplars],
    }


def _side_by_side(
    first: Iterator[ClassCopy], second: Iterator[ClassCopy]
) -> Iterator[tuple[ClassCopy | None, ClassCopy | None]]:
    """Pair what has one id, of two that are in order of id."""
    one, other = next(first, None), next(second, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one.id < other.id):
            yield one, None
            one = next(first, None)
        elif one is None or other.id < one.id:
            yield None, other
            other = next(second, None)
        else:
            yield one, other
            one, other = next(first, None), next(second, None)
