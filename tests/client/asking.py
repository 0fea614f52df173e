"""One question put by either client, and a server's answer that first fails."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from exemplar import AsyncClient, Client, Gallery
from tests.client.scripted_server import Answer, fail

both_clients = pytest.mark.parametrize("synchronous", [True, False], ids=["Client", "AsyncClient"])


def failing(times: int, then: Message, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE) -> Answer:
    """Fail that many times, then answer."""
    left = [times]

    def answer(request: Any, context: grpc.ServicerContext) -> Message:
        left[0] -= 1
        if left[0] >= 0:
            fail(context, code, "the queue is full", "QUEUE_FULL", retry_after=1)
        return then

    return answer


def ask(address: str | None, synchronous: bool, *, deadline: float | None = None, **options: Any) -> Gallery:
    """Read gallery `g` with the one client or the other, within the call's own `deadline` if any."""
    if synchronous:
        with Client(address, **options) as client:
            return client.get_gallery("g", timeout=deadline)

    async def run() -> Gallery:
        async with AsyncClient(address, **options) as client:
            return await client.get_gallery("g", timeout=deadline)

    return asyncio.run(run())
