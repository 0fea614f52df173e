"""Whether the server is ready, and what it is short of while it serves: for the log, the metrics and `/ready`.

| condition | while it lasts |
|---|---|
| `damage` | some galleries cannot be searched; all others can |
| `disk_full` | everything is answered, and only deletions are stored |
| `read_only` | everything is answered, and nothing can be stored |
| `decoders` | images are decoded by fewer processes than there should be |
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

import structlog

_log = structlog.get_logger()

CONDITIONS = ("damage", "disk_full", "read_only", "decoders")

State = Literal["loading", "serving", "store away", "draining"]


class Readiness:
    """See the module. Its methods may be called from any thread."""

    def __init__(self) -> None:
        """Be loading, and short of nothing."""
        self.state: State = "loading"
        self._present: dict[str, str] = {}
        self._looks: dict[str, Callable[[], str]] = {}
        self._lock = threading.Lock()

    @property
    def ready(self) -> bool:
        """Whether calls are let in, and answered."""
        return self.state == "serving"

    def begin(self, condition: str, said: str) -> None:
        """Tell that a condition is there, if it was not."""
        with self._lock:
            new = condition not in self._present
            self._present[condition] = said
        if new:
            _log.error("degraded", condition=condition, reason=said)

    def end(self, condition: str) -> None:
        """Tell that a condition is there no more, if it was."""
        with self._lock:
            was = self._present.pop(condition, None)
        if was is not None:
            _log.info("no longer degraded", condition=condition)

    def watch(self, condition: str, look: Callable[[], str]) -> None:
        """Have a condition looked for when somebody asks; `look` returns what there is to say, empty for nothing."""
        self._looks[condition] = look

    def degraded(self) -> dict[str, str]:
        """Return the conditions that are there, each with a sentence."""
        with self._lock:
            present = dict(self._present)
        for condition, look in list(self._looks.items()):
            if said := look():
                present[condition] = said
        return present
