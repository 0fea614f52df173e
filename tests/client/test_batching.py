"""Batches keep order, lose nothing, and stay within what a message may hold."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from exemplar.batching import MAX_ITEM_BYTES, MAX_ITEMS, batches
from exemplar.v1.resources_pb2 import Image


def image(content: bytes) -> Image:
    return Image(content=content)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 120), max_size=40), st.integers(1, 7))
def test_batches_in_order_hold_every_item_and_respect_both_limits(sizes: list[int], max_items: int) -> None:
    items = [bytes(size) for size in sizes]
    made = list(batches(map(image, items), max_items, max_bytes=100))
    assert [item.content for batch in made for item in batch] == items
    for batch in made:
        assert 1 <= len(batch) <= max_items
        assert len(batch) == 1 or sum(item.ByteSize() for item in batch) <= 100


def test_an_item_too_large_for_any_message_comes_alone() -> None:
    large = bytes(MAX_ITEM_BYTES + 1)
    assert [len(batch) for batch in batches(map(image, [b"a", b"b", large, b"c", b"d"]))] == [2, 1, 2]


def test_items_are_drawn_only_as_they_are_needed() -> None:
    drawn: list[int] = []

    def items() -> Iterator[Image]:
        for number in range(10 * MAX_ITEMS):
            drawn.append(number)
            yield image(b"x")

    next(batches(items()))
    assert len(drawn) <= MAX_ITEMS + 1
