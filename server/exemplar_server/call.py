"""The call that is being answered: whose it is, until when an answer is wanted, and whether anybody still waits.

The interceptor makes one for each RPC. Whatever costs time asks `expired` before it begins, so that no work is done
for a caller who has given up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextvars import ContextVar
from time import monotonic

from exemplar_server.access.caller import ANYONE, Caller


class Call:
    """One RPC. Its attributes may be read from any thread.

    Attributes:
        caller: names the connection; calls of one connection share its turns.
        deadline: when the caller stops waiting, in seconds of `time.monotonic`; infinite where it did not say.
        who: makes it, and may do and see so much.
        gone: whether the call has ended or its caller went away.
        hold: asks for room for an answer of so many bytes, where that is known before it is built; raises
            UnavailableError where there is none.
    """

    __slots__ = ("caller", "deadline", "gone", "hold", "who")

    def __init__(self, caller: str = "", deadline: float = math.inf, who: Caller = ANYONE) -> None:
        self.caller = caller
        self.deadline = deadline
        self.who = who
        self.gone = False
        self.hold: Callable[[int], None] = _nothing

    @property
    def expired(self) -> bool:
        """Whether nobody waits for an answer any more."""
        return self.gone or monotonic() > self.deadline


def _nothing(amount: int) -> None:
    """Hold nothing: outside of a server there is room."""


_current: ContextVar[Call] = ContextVar("call")


def this_call() -> Call:
    """Return the call that is being answered; outside of one, a call that never expires."""
    return _current.get(None) or Call()


def begin(call: Call) -> None:
    """Make a call the one that is being answered, in this context."""
    _current.set(call)
