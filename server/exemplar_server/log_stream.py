"""A stream for the log that never keeps its writer waiting, whether or not anybody reads what is written.

Lines wait in a bounded queue for a thread that writes them. While nobody takes them, further ones are dropped and
counted, and the first line that goes through again is preceded by how many are missing.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TextIO

_LINES = 10_000


class LogStream:
    """A text stream in front of another; any thread may write."""

    def __init__(self, target: TextIO, lines: int = _LINES) -> None:
        """Start the thread.

        Args:
            target: where lines go.
            lines: how many may wait.
        """
        self.dropped = 0
        self._target = target
        self._most = lines
        self._told = 0
        self._waiting: deque[str] = deque()
        self._news = threading.Condition()
        self._writing = False
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def write(self, text: str) -> int:
        """Take a text, or drop it where too many wait."""
        with self._news:
            if len(self._waiting) >= self._most:
                self.dropped += 1
            else:
                self._waiting.append(text)
                self._news.notify()
        return len(text)

    def flush(self) -> None:
        """Return at once; see `drain`."""

    def isatty(self) -> bool:
        """Whether people read it as it is written."""
        return self._target.isatty()

    def drain(self, seconds: float) -> None:
        """Wait until all is written, or no longer than this."""
        with self._news:
            self._news.wait_for(lambda: not self._waiting and not self._writing, seconds)

    def _run(self) -> None:
        while True:
            with self._news:
                self._writing = False
                self._news.notify_all()
                self._news.wait_for(lambda: self._waiting)
                self._writing = True
                texts = "".join(self._waiting)
                self._waiting.clear()
                lost, self._told = self.dropped - self._told, self.dropped
            try:
                self._target.write(texts)
                if lost:
                    self._target.write(f"{lost:,} lines of the log were dropped here, since nobody read them\n")
                self._target.flush()
            except (OSError, ValueError):  # whoever read it is gone, and there is nobody to tell
                with self._news:
                    self.dropped += texts.count("\n")
