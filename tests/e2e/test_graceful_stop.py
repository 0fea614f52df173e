"""A server that is told to stop ends what it has begun, and tells who calls after that when to come back."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from demo.server_process import ServerProcess
from exemplar.v1 import classification_service_pb2 as classification
from exemplar.v1.classification_service_pb2_grpc import ClassificationServiceStub
from tests.e2e.stubs import image, png

CALLERS = 24
CHANNELS = 4


async def _call_until_it_ends(stub: Any, request: classification.EmbedRequest, answered: asyncio.Event) -> str:
    """Call on and on, as a client without retries; return how the last call ended."""
    while True:
        try:
            await stub.Embed(request, timeout=20, wait_for_ready=False)
            answered.set()
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"


async def _stop_under_load(server: ServerProcess) -> Counter[str]:
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    channels = [grpc.aio.insecure_channel(server.address, options) for _ in range(CHANNELS)]
    stubs = [ClassificationServiceStub(channel) for channel in channels]
    answered = asyncio.Event()
    request = classification.EmbedRequest(image=image(png()))
    calls = [
        asyncio.ensure_future(_call_until_it_ends(stubs[number % CHANNELS], request, answered))
        for number in range(CALLERS)
    ]
    await asyncio.wait_for(answered.wait(), 30)
    code = asyncio.ensure_future(asyncio.to_thread(server.stop))
    ends = Counter(await asyncio.gather(*calls))
    assert await code == 0
    for channel in channels:
        await channel.close()
    return ends


@pytest.mark.slow
@pytest.mark.process
def test_of_calls_around_a_stop_none_ends_without_an_answer_or_a_time_to_come_back(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    with ServerProcess(tiny_bundle, tmp_path) as server:
        for _ in range(4):
            ends = asyncio.run(_stop_under_load(server))
            assert all(each.startswith("UNAVAILABLE: the server is shutting down") for each in ends), ends
            server.restart()
