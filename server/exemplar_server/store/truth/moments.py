"""Moments as they are stored: whole microseconds since the epoch."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now_micros() -> int:
    """Return the time to record."""
    return time.time_ns() // 1000


def now() -> datetime:
    """Return the time to record, as `from_micros` would read it back."""
    return from_micros(now_micros())


def to_micros(moment: datetime) -> int:
    """Return the moment to the nearest microsecond."""
    return int(moment.timestamp() * 1_000_000 + 0.5)


def from_micros(micros: int) -> datetime:
    """Return the moment, in UTC."""
    return datetime.fromtimestamp(micros / 1_000_000, UTC)
