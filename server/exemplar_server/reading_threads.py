"""Threads for reading: a few for searches, and one for reads that may take minutes.

A read that nobody waits for any more is not begun, and a long one stops on its way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from exemplar_encoder.processors import processors
from exemplar_server.call import Call, this_call
from exemplar_server.errors import UnavailableError

T = TypeVar("T")


class ReadingThreads:
    """See the module; for one event loop."""

    def __init__(self) -> None:
        # More than cores: between its slices a batch hands over to the loop and back, and others search meanwhile.
        self._searches = ThreadPoolExecutor(3 * processors(), "search")
        self._long = ThreadPoolExecutor(1, "long read")

    async def search(self, read: Callable[[], T]) -> T:
        """Read what takes milliseconds."""
        return await _run(self._searches, lambda _: read())

    async def read_long(self, read: Callable[[Callable[[], None]], T]) -> T:
        """Read what takes long; `read` is given what is to be called now and then, and raises once nobody waits."""
        return await _run(self._long, lambda call: read(lambda: _refuse_expired(call)))

    def close(self) -> None:
        """Begin nothing more; what runs ends by itself, since its caller is gone."""
        self._searches.shutdown(wait=False, cancel_futures=True)
        self._long.shutdown(wait=False, cancel_futures=True)


async def _run(pool: ThreadPoolExecutor, read: Callable[[Call], T]) -> T:
    call = this_call()

    def run() -> T:
        _refuse_expired(call)
        return read(call)

    return await asyncio.get_running_loop().run_in_executor(pool, run)


def _refuse_expired(call: Call) -> None:
    if call.expired:
        raise UnavailableError("CALL_EXPIRED", "nobody waits for this answer any more")
