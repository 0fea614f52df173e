"""Which calls are let in: how many at once, and how many bytes their messages may hold.

Both are shared by dynamic thresholds: a caller may hold no more than what is left free (Choudhury & Hahne, "Dynamic
Queue Length Thresholds for Shared-Memory Packet Switches", 1998). One caller alone gets half, two get a third each;
however greedy some are, something is left for the next.

A call has a place before its message is read. A message that is not there at once, since it is large or its sender
slow, is waited for in one of a few places more, so that what is half read is bounded as well. The bytes of a large
answer count until its caller has taken them or its connection ends.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from exemplar_server.errors import UnavailableError
from exemplar_server.process_memory import trim_memory

# A message is read within this time, in seconds, or is one of the slow ones; these are read until they are too late.
QUICK = 0.025
SLOWEST = 30.0

_BUSY_RETRY = 0.5

# Messages of so many bytes leave memory behind that is worth returning, after so many seconds.
_LARGE = 1 << 20
_RETURN_AFTER = 0.25

# An answer of so many bytes leaves the process at once, whether its caller reads or not.
_WINDOW = 60_000


class Share:
    """Something limited that callers share."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0
        self._by_caller: defaultdict[str, int] = defaultdict(int)

    def take(self, caller: str, amount: int) -> bool:
        """Take some for a caller, unless he would hold more than what is then left."""
        if self.taken + amount > self.limit or self._by_caller[caller] + amount > self.limit - self.taken:
            self._forget(caller)
            return False
        self.taken += amount
        self._by_caller[caller] += amount
        return True

    def give_back(self, caller: str, amount: int) -> None:
        """Return what a caller took."""
        self.taken -= amount
        self._by_caller[caller] -= amount
        self._forget(caller)

    def _forget(self, caller: str) -> None:
        if not self._by_caller[caller]:
            del self._by_caller[caller]


class Admission:
    """See the module; belongs to one event loop."""

    def __init__(self, max_calls: int, max_bytes: int, max_message_bytes: int) -> None:
        """Let in so much.

        Args:
            max_calls: calls at once, of all callers.
            max_bytes: bytes of all messages that are being answered.
            max_message_bytes: bytes of one; so many are waited for that they are no more than `max_bytes` either.
        """
        self.calls = Share(max_calls)
        self.bytes = Share(max(max_bytes, 2 * max_message_bytes))
        self.slow = Share(max(2, max_bytes // max_message_bytes))
        self._returning = False

    def return_memory(self) -> None:
        """Have the memory of large messages given back to the system soon; the C library would keep it."""
        if not self._returning:
            self._returning = True
            asyncio.get_running_loop().call_later(_RETURN_AFTER, self._return_memory)

    def _return_memory(self) -> None:
        self._returning = False
        asyncio.get_running_loop().run_in_executor(None, trim_memory)

    def enter(self, caller: str) -> Place:
        """Return a place for a call.

        Raises:
            UnavailableError: there is none for this caller.
        """
        if not self.calls.take(caller, 1):
            raise busy(f"{self.calls.taken:,} calls are being answered")
        return Place(self, caller)


@dataclass
class Place:
    """A call's place; it is to be left in the end."""

    _admission: Admission
    _caller: str
    _bytes: int = 0
    _answer: int = 0
    _slow: bool = False
    _slow_once: bool = False
    _late: str = ""
    _timer: asyncio.TimerHandle | None = None

    async def read(self, receive: Awaitable[bytes]) -> bytes:
        """Wait for the message, and hold its bytes.

        Args:
            receive: what becomes the message.

        Raises:
            UnavailableError: it came too slowly, or holds more than there is room for.
        """
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None, "a call is a task"

        def stop(why: str) -> None:
            self._late = why
            task.cancel()

        def look_again() -> None:  # where the loop was late itself, the message may be there
            self._timer = loop.call_later(0.001, wait_longer)

        def wait_longer() -> None:
            if self._admission.slow.take(self._caller, 1):
                self._slow = self._slow_once = True
                self._timer = loop.call_later(SLOWEST, stop, f"its message took more than {SLOWEST:.0f} s")
            else:
                stop("other large messages are being read")

        self._timer = loop.call_later(QUICK, look_again)
        try:
            content = await receive
        except asyncio.CancelledError:
            if not self._late:
                raise
            task.uncancel()
            raise busy(self._late) from None
        finally:
            self._timer.cancel()
            self._timer = None  # it knows this place
            self._end_slow()
        if not self._admission.bytes.take(self._caller, len(content)):
            raise busy(f"messages of {self._admission.bytes.taken:,} bytes are being answered")
        self._bytes = len(content)
        return content

    def hold(self, size: int) -> None:
        """Hold an answer's bytes, where they are many.

        Raises:
            UnavailableError: there is no room for them.
        """
        more = size - self._answer
        if size <= _WINDOW or more <= 0:
            return
        if not self._admission.bytes.take(self._caller, more):
            raise busy(f"messages of {self._admission.bytes.taken:,} bytes are being answered")
        self._answer = size

    async def write(self, send: Callable[[bytes], Awaitable[None]], content: bytes) -> None:
        """Send an answer, and hold its bytes until the caller has taken them.

        Raises:
            UnavailableError: there is no room for them.
        """
        self.hold(len(content))
        await send(content)

    def leave(self) -> None:
        """Give back what the call had."""
        self._admission.calls.give_back(self._caller, 1)
        self._admission.bytes.give_back(self._caller, self._bytes + self._answer)
        if self._late or self._slow_once or self._bytes + self._answer > _LARGE:
            self._admission.return_memory()

    def _end_slow(self) -> None:
        if self._slow:
            self._admission.slow.give_back(self._caller, 1)
            self._slow = False


def busy(why: str) -> UnavailableError:
    """Return the refusal of a call that there is no room for."""
    return UnavailableError("SERVER_BUSY", f"the server is busy: {why}; try again later", retry_after=_BUSY_RETRY)
