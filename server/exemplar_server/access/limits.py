"""How much a caller may ask for: requests, images and bytes a second, and classes in all that it sees.

Rates are token buckets (RFC 2697 has the idea) that hold one second's worth. A call is let in while its caller's
bucket holds anything and may empty it below zero, so that a batch larger than a second's worth passes now and then;
the next call waits until the debt is paid.
"""

from __future__ import annotations

from collections.abc import Set
from time import monotonic
from typing import Any

from exemplar_server.access.caller import Caller
from exemplar_server.errors import DataLossError, NotFoundError, ResourceExhaustedError
from exemplar_server.store.gallery_store import Galleries

# Callers whose buckets are full are forgotten when there are so many.
_MOST_CALLERS = 10_000


class Rates:
    """What callers have left of their rates; belongs to one event loop."""

    def __init__(self) -> None:
        self._levels: dict[tuple[str, str], tuple[float, float]] = {}

    def take(self, caller: Caller, what: str, amount: int) -> None:
        """Take from a caller's bucket, where it has a limit.

        Args:
            caller: whose.
            what: requests, images or bytes.
            amount: how much.

        Raises:
            ResourceExhaustedError: it is empty; nothing was taken.
        """
        rate = caller.limits.get(what)
        if rate is None:
            return
        now = monotonic()
        level, at = self._levels.get((caller.name, what), (float(rate), now))
        level = min(rate, level + rate * (now - at))
        if level <= 0:
            self._levels[caller.name, what] = level, now
            raise ResourceExhaustedError(
                "RATE_LIMITED",
                f"{caller.name!r} may ask for {rate:,} {what} a second, and has asked for more",
                {"limit": what, "per_second": str(rate)},
                retry_after=max(0.001, (1 - level) / rate),
            )
        if len(self._levels) >= _MOST_CALLERS:
            self._levels = {key: kept for key, kept in self._levels.items() if now - kept[1] < 1}
        self._levels[caller.name, what] = level - amount, now


def images_in(message: Any) -> int:
    """Return how many images a request carries."""
    count = 0
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for each in value if field.is_repeated else (value,):
            count += field.message_type.full_name == "exemplar.v1.Image" or images_in(each)
    return count


def check_classes(caller: Caller, galleries: Galleries, gallery: str, class_ids: Set[str]) -> None:
    """Refuse classes with which a caller would see more than it may have; those that are there already do not count.

    Raises:
        ResourceExhaustedError: they would be too many.
    """
    most = caller.limits.get("classes")
    if most is None:
        return
    new = sum(not _is_there(galleries, gallery, class_id) for class_id in class_ids)
    present = _classes_seen(caller, galleries)
    if new and present + new > most:
        raise ResourceExhaustedError(
            "CLASSES_LIMITED",
            f"{caller.name!r} may have {most:,} classes in its galleries, has {present:,}, and gave {new:,} more; "
            "delete some first",
            {"limit": "classes", "most": str(most), "present": str(present), "new": str(new)},
        )


def _is_there(galleries: Galleries, gallery: str, class_id: str) -> bool:
    try:
        galleries.get_class(gallery, class_id)
    except NotFoundError:
        return False
    except DataLossError:
        pass  # it is there, and replaced
    return True


def _classes_seen(caller: Caller, galleries: Galleries) -> int:
    count, after = 0, ""
    while page := galleries.list_galleries(after, 1000):
        count += sum(gallery.class_count for gallery in page if caller.sees(gallery.id))
        after = page[-1].id
    return count
