"""How glibc keeps this process's memory, so that a burst of large messages does not stay resident.

By default it keeps a heap for each of many threads, and large blocks that were freed. Other C libraries are left as
they are.
"""

from __future__ import annotations

import ctypes

_LIBRARY = ctypes.CDLL(None)

_MMAP_THRESHOLD, _TRIM_THRESHOLD, _ARENA_MAX = -3, -1, -8  # of mallopt, in malloc.h
_LARGE = 256 * 1024


def limit_memory() -> None:
    """Keep two heaps at most, and give large blocks back when they are freed; before any thread is started."""
    if hasattr(_LIBRARY, "malloc_trim"):  # which glibc alone has
        _LIBRARY.mallopt(_ARENA_MAX, 2)
        _LIBRARY.mallopt(_MMAP_THRESHOLD, _LARGE)
        _LIBRARY.mallopt(_TRIM_THRESHOLD, 32 * _LARGE)


def trim_memory() -> None:
    """Return to the system what was freed and is still kept; takes milliseconds."""
    if hasattr(_LIBRARY, "malloc_trim"):
        _LIBRARY.malloc_trim(0)
