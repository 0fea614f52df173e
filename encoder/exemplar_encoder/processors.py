"""How many processors this process may use, which in a container is often fewer than the machine has."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def processors(cgroup: Path = _CGROUP) -> int:
    """Return a number, 1 at least: of those that the process is bound to, as many as its container's time is worth.

    Args:
        cgroup: where the system tells of the container; version 2 and version 1 are read.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroup)
    return bound if quota is None else max(1, min(bound, math.ceil(quota)))


def _quota(cgroup: Path) -> float | None:
    """Return the seconds of processor time that may be spent in a second; None where that is not limited."""
    try:
        if (cgroup / "cpu.max").exists():
            allowed, period = (cgroup / "cpu.max").read_text().split()
        else:
            allowed = (cgroup / "cpu/cpu.cfs_quota_us").read_text()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text()
        return int(allowed) / int(period) if int(allowed) > 0 else None
    except (OSError, ValueError):  # "max", or another system
        return None
