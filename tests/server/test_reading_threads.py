"""Reads wait for no long read, and what nobody waits for is not done."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from exemplar_server.call import Call, begin
from exemplar_server.errors import UnavailableError
from exemplar_server.reading_threads import ReadingThreads


def test_a_search_waits_for_no_long_read() -> None:
    async def work() -> None:
        threads, over = ReadingThreads(), threading.Event()
        long = [asyncio.ensure_future(threads.read_long(lambda _: over.wait(30))) for _ in range(20)]
        assert await threads.search(lambda: "found") == "found"
        over.set()
        assert all(await asyncio.gather(*long))
        threads.close()

    asyncio.run(work())


def test_reads_of_callers_who_are_gone_are_not_begun() -> None:
    async def work() -> None:
        threads, over, begun = ReadingThreads(), threading.Event(), []
        first = asyncio.ensure_future(threads.read_long(lambda _: over.wait(30)))
        call = Call("a")
        begin(call)
        later = [asyncio.ensure_future(threads.read_long(lambda _: begun.append(1))) for _ in range(5)]
        await asyncio.sleep(0)
        call.gone = True
        over.set()
        assert await first
        for each in await asyncio.gather(*later, return_exceptions=True):
            assert isinstance(each, UnavailableError)
            assert each.reason == "CALL_EXPIRED"
        assert begun == []
        threads.close()

    asyncio.run(work())


def test_a_long_read_ends_on_its_way_once_nobody_waits() -> None:
    async def work() -> None:
        threads, call, blocks = ReadingThreads(), Call("a"), []
        begin(call)

        def read(go_on: Callable[[], None]) -> None:
            while True:
                go_on()
                blocks.append(1)
                call.gone = len(blocks) == 3

        with pytest.raises(UnavailableError):
            await threads.read_long(read)
        assert len(blocks) == 3
        threads.close()

    asyncio.run(work())
