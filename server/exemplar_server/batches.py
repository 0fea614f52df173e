"""Batches: each item is answered by itself, and one that cannot be keeps its error in its place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar, cast

from exemplar_server.errors import ServiceError

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
    return parsed
