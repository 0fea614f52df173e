"""A change that its caller may send again: how a store recognizes it, and what it keeps for the second time.

The store knows nothing of messages. It keeps the bytes that `Request.response` makes of a change's effect, in the
transaction of the change itself, and hands them out to whoever sends the same request again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

Effect = TypeVar("Effect")
Earlier = TypeVar("Earlier")

KEPT_FOR = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Request(Generic[Effect]):
    """A change as its caller asked for it.

    Attributes:
        id: chosen by the caller; the same for every attempt.
        method: what was called.
        digest: SHA-256 of all that was asked.
        response: writes down the change's effect. An error that it raises undoes the change.
    """

    id: str
    method: str
    digest: bytes
    response: Callable[[Effect], bytes]

    def after(self, step: Callable[[Earlier], Effect]) -> Request[Earlier]:
        """Return the same request for a change whose effect one more step makes into this one's."""
        return Request(self.id, self.method, self.digest, lambda earlier: self.response(step(earlier)))


class RepeatedRequest(Exception):  # noqa: N818 - it is no error: the change was made before
    """The request was answered before, with `response`; nothing was changed now."""

    def __init__(self, response: bytes) -> None:
        super().__init__("the request was answered before")
        self.response = response
