"""Threads that read images: a read that hangs keeps nobody from ending the job.

The pools of the standard library are waited for when the process ends; these threads are not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A")


class Readers:
    """A few threads that do what they are given, in order."""

    def __init__(self, count: int) -> None:
        """Start `count` threads."""
        self._count = count
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._closed = False
        for number in range(count):
            threading.Thread(target=self._run, name=f"reader-{number}", daemon=True).start()

    def submit(self, work: Callable[P, T], *args: P.args, **options: P.kwargs) -> Future[T]:
        """Have a thread call `work`; the future has what comes of it."""
        future: Future[T] = Future()

        def do() -> None:
            if self._closed or not future.set_running_or_notify_cancel():
                return
            try:
                result = work(*args, **options)
            except BaseException as error:  # noqa: BLE001 - who waits for the future gets it
                future.set_exception(error)
            else:
                future.set_result(result)

        self._work.put(do)
        return future

    def map(self, work: Callable[[A], T], given: Iterable[A]) -> Iterator[T]:
        """Yield what comes of each of those given, in their order; all are begun at once."""
        futures = [self.submit(work, each) for each in given]
        return (future.result() for future in futures)

    def close(self) -> None:
        """Let the threads end, each once it is done with what it has begun; the rest is dropped, nobody waits."""
        self._closed = True
        for _ in range(self._count):
            self._work.put(None)

    def __enter__(self) -> Readers:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _run(self) -> None:
        while work := self._work.get():
            work()
