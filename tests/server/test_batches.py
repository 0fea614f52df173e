"""Batches: answers and errors end up where their items were."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from exemplar_server.batches import answer_each, parse_each
from exemplar_server.errors import InternalError, ServiceError, invalid_field


def number(text: str) -> int:
    if not text.isdigit():
        raise invalid_field("text", f"{text} is no number")
    return int(text)


def test_what_cannot_be_parsed_keeps_its_error_in_its_place() -> None:
    parsed = parse_each(number, ["1", "x", "3"])
    assert [item if isinstance(item, int) else item.message for item in parsed] == [1, "text: x is no number", 3]


def test_an_accident_with_one_item_costs_its_own_result_and_is_logged() -> None:
    with capture_logs() as logged:
        good, failed = parse_each(lambda item: 1 // item, [1, 0])
    assert good == 1
    assert isinstance(failed, InternalError)
    assert failed.reason == "ITEM_FAILED"
    assert failed.metadata["incident"] in failed.message
    (line,) = logged
    assert line["incident"] == failed.metadata["incident"]
    assert isinstance(line["exc_info"], ZeroDivisionError)


def test_items_of_one_kind_are_answered_together_and_the_others_stay_where_they_are() -> None:
    asked: list[list[int]] = []

    async def double(items: list[int]) -> list[str]:
        asked.append(items)
        return [str(2 * item) for item in items]

    error = invalid_field("x", "wrong")
    items: list[int | ServiceError] = [1, error, 2, error]
    assert asyncio.run(answer_each(int, items, double)) == ["2", error, "4", error]
    assert asyncio.run(answer_each(int, [error], double)) == [error]
    assert asked == [[1, 2]]
