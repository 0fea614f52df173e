"""Calls of one method by h2load, a load generator in C (Debian's `nghttp2-client`); processes' time and memory.

A generator in Python takes as much processor as the server that it calls. h2load sends the same gRPC message over and
over; it knows nothing of gRPC's statuses, so whoever uses it compares the server's own count of answers.
"""

from __future__ import annotations

import resource
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

CONNECTIONS = 4


@dataclass(frozen=True)
class Load:
    """Calls that were answered.

    Attributes:
        rate: calls a second.
        p50: median time of a call in ms.
        p99: of a hundred calls the slowest, in ms.
        generator: processor time that the generator took for a call, in ms.
    """

    rate: float
    p50: float
    p99: float
    generator: float


def available() -> bool:
    """Whether h2load is installed."""
    return shutil.which("h2load") is not None


def call(address: str, method: str, message: bytes, in_flight: int, seconds: float) -> Load:
    """Call a method over and over.

    Args:
        address: host and port, without TLS.
        method: its path, such as `/package.Service/Method`.
        message: the request, serialized.
        in_flight: how many calls at once, over a few connections.
        seconds: how long, after a fifth of that to warm up.
    """
    connections = min(CONNECTIONS, in_flight)
    with tempfile.TemporaryDirectory() as scratch:
        body, log = Path(scratch, "body"), Path(scratch, "log")
        body.write_bytes(b"\0" + struct.pack(">I", len(message)) + message)
        command = ["h2load", "-c", str(connections), "-m", str(-(-in_flight // connections))]
        command += ["-D", f"{seconds:.0f}", "--warm-up-time", f"{max(1.0, seconds / 5):.0f}", "-d", str(body)]
        command += ["-H", "content-type: application/grpc", "-H", "te: trailers", "--log-file", str(log)]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([*command, f"http://{address}{method}"], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        milliseconds = np.loadtxt(log, usecols=2, ndmin=1) / 1000
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    whole = seconds + max(1.0, seconds / 5)
    rate = len(milliseconds) / seconds
    return Load(
        rate, float(np.median(milliseconds)), float(np.quantile(milliseconds, 0.99)), 1000 * spent / (rate * whole)
    )


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process and those that it started have taken, in seconds."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return float(sum(times.user + times.system for times in (each.cpu_times() for each in family)))


def resident_mib(pid: int) -> list[float]:
    """Return the memory of a process and of each that it started, in MiB; pages they share count in each."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return [each.memory_info().rss / 2**20 for each in family]
