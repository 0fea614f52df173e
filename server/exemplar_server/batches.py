"""Batches: each item is answered by itself, and one that cannot be keeps its error in its place.

That holds for what nobody expected, too: it is logged, and costs the item at which it happened.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar, cast

import structlog

from exemplar_server.errors import InternalError, ServiceError

_log = structlog.get_logger()

Item = TypeVar("Item")
Other = TypeVar("Other")
Answer = TypeVar("Answer")


async def answer_each(
    kind: type[Item],
    items: Sequence[Item | Other],
    answer: Callable[[list[Item]], Awaitable[Sequence[Answer]]],
) -> list[Answer | Other]:
    """Answer the items of one kind together; the others, such as errors, stay as they are.

    Args:
        kind: the class of the items to answer.
        items: those and others.
        answer: gives one answer for each of the items that it gets, in order; not called for none.

    Returns:
        The answers, each in its item's place, and the other items in theirs.
    """
    asked = [item for item in items if isinstance(item, kind)]
    answers = iter(await answer(asked) if asked else ())
    return [next(answers) if isinstance(item, kind) else cast("Other", item) for item in items]


def parse_each(parse: Callable[[Item], Answer], items: Iterable[Item]) -> list[Answer | ServiceError]:
    """Parse items, each by itself; an error takes the place of one that cannot be."""
    parsed: list[Answer | ServiceError] = []
    for item in items:
        try:
            parsed.append(parse(item))
        except ServiceError as error:
            parsed.append(error)
        except Exception as error:  # noqa: BLE001 - it is logged
            parsed.append(failed_item(error))
    return parsed


def failed_item(error: Exception, field: str = "") -> InternalError:
    """Log what nobody expected of an item, and return the item's error.

    Args:
        error: the accident.
        field: the name of the item in the request, to be named in the error; empty for none.
    """
    incident = new_incident()
    _log.error("failed at an item", incident=incident, exc_info=error)
    told = f"the server failed at it; the server's log tells more under incident {incident}"
    if not field:
        return InternalError("ITEM_FAILED", told, {"incident": incident})
    return InternalError("ITEM_FAILED", f"{field}: {told}", {"incident": incident, "field": field})


def new_incident() -> str:
    """Return what a caller is told and the log can be searched for."""
    return uuid.uuid4().hex[:12]
