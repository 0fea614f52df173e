"""A store verified: every row, exemplar, image and kept response is read and checked, and what is wrong is named."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from exemplar_server.errors import ServiceError, gallery_not_found
from exemplar_server.store.truth.damage_search import Damage
from exemplar_server.store.truth.snapshot import Snapshot
from exemplar_server.transfer.source import UNFINISHED


@dataclass
class Verified:
    """What was read, and what is wrong with it."""

    galleries: list[tuple[str, int]] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)


def verify(
    snapshot: Snapshot, only: Collection[str] = (), advance: Callable[[int], None] = lambda _: None
) -> Verified:
    """Read some galleries, or where `only` names none all that there is, and check it.

    Raises:
        NotFoundError: one of `only` is not there.
        ServiceError: the galleries cannot be listed.
    """
    verified = Verified()
    for gallery in snapshot.damaged_galleries():
        if not only or gallery in only:
            verified.galleries.append((gallery, 0))
    for held in snapshot.all_galleries():
        if not only or held.id in only:
            verified.galleries.append((held.id, held.class_count))
            if held.model == UNFINISHED:
                problem = "it was not loaded to its end; run the command that loaded it again, or delete it"
                verified.damage.append(Damage(held.id, "", problem))
    for name in sorted({*only} - {gallery for gallery, _ in verified.galleries}):
        raise gallery_not_found(name)
    verified.galleries.sort()
    for gallery, _ in verified.galleries:
        try:
            verified.damage += snapshot.damage(gallery, advance)
        except ServiceError as error:  # a page of the database that cannot be read at all
            verified.damage.append(Damage(gallery, "", error.message))
    if not only:
        try:
            verified.damage += snapshot.other_damage()
        except ServiceError as error:
            verified.damage.append(Damage("", "", error.message))
    return verified
