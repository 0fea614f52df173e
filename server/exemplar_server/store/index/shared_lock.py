"""A lock that many readers share and one writer has alone; a writer who waits lets no new reader in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class SharedLock:
    """See the module. It is not reentrant."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._readers = 0
        self._writing = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Run beside others who share it."""
        with self._news:
            self._news.wait_for(lambda: not self._writing)
            self._readers += 1
        try:
            yield
        finally:
            with self._news:
                self._readers -= 1
                self._news.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Run beside nobody."""
        with self._news:
            self._news.wait_for(lambda: not self._writing)
            self._writing = True
            self._news.wait_for(lambda: not self._readers)
        try:
            yield
        finally:
            with self._news:
                self._writing = False
                self._news.notify_all()
