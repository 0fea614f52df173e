"""Batches that the server takes, within its limits of items and of bytes, cut from a stream of items."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from google.protobuf.message import Message

MAX_ITEMS = 256
MAX_MESSAGE_BYTES = 32 * 1024 * 1024

Item = TypeVar("Item", bound=Message)

# Room for what surrounds the items: names, options and the framing of each item.
_ENVELOPE_BYTES = 64 * 1024
MAX_ITEM_BYTES = MAX_MESSAGE_BYTES - _ENVELOPE_BYTES


def batches(
    items: Iterable[Item], max_items: int = MAX_ITEMS, max_bytes: int = MAX_ITEM_BYTES
) -> Iterator[list[Item]]:
    """Yield the items in order, in batches; an item that fits no message comes alone.

    The items are drawn one at a time, so no more than one batch and one item are held.
    """
    batch: list[Item] = []
    room = max_bytes
    for item in items:
        size = item.ByteSize()
        if batch and (len(batch) == max_items or size > room):
            yield batch
            batch, room = [], max_bytes
        batch.append(item)
        room -= size
    if batch:
        yield batch
