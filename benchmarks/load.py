"""Calls of one method by h2load, a load generator in C (Debian's `nghttp2-client`); processes' time and memory.

A generator in Python takes as much processor as the server that it calls. h2load sends the same gRPC message over and
over; it knows nothing of gRPC's statuses, so whoever uses it compares the server's own count of answers.
"""

from __future__ import annotations

import resource
import shutil
import struct
import subprocess
import sys
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


def call(
    address: str, method: str, message: bytes, in_flight: int, seconds: float, rate: float | None = None
) -> Load:
    """Call a method of gRPC over and over.

    Args:
        address: host and port, without TLS.
        method: its path, such as `/package.Service/Method`.
        message: the request, serialized.
        in_flight: how many calls at once, over a few connections.
        seconds: how long, after a fifth of that to warm up.
        rate: so many calls a second, whether those before were answered or not; None for as many as are answered.
    """
    connections = min(CONNECTIONS, in_flight)
    flags = ["-c", str(connections), "-m", str(-(-in_flight // connections))]
    flags += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    if rate is not None:
        flags.append(f"--rps={rate / connections:.0f}")
    body = b"\0" + struct.pack(">I", len(message)) + message
    return _load(flags, f"http://{address}{method}", body, seconds)


def post(url: str, body: bytes, kind: str, in_flight: int, seconds: float) -> Load:
    """Do as `call` by HTTP/1.1, with a connection to each call in flight; `kind` is the content's type."""
    flags = ["--h1", "-c", str(in_flight), "-H", f"content-type: {kind}"]
    return _load(flags, url, body, seconds)


def _load(flags: list[str], url: str, body: bytes, seconds: float) -> Load:
    warm_up = max(1.0, seconds / 5)
    with tempfile.TemporaryDirectory() as scratch:
        file, log = Path(scratch, "body"), Path(scratch, "log")
        file.write_bytes(body)
        command = ["h2load", *flags, "-D", f"{seconds:.0f}", "--warm-up-time", f"{warm_up:.0f}"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [*command, "-d", str(file), "--log-file", str(log), url], check=True, stdout=subprocess.DEVNULL
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        _, status, microseconds = np.loadtxt(log, ndmin=2).T
    milliseconds = microseconds[status == 200] / 1000
    if len(milliseconds) < len(status):
        print(f"{len(status) - len(milliseconds):,} of {len(status):,} calls to {url} failed", file=sys.stderr)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    rate = len(milliseconds) / seconds
    generator = 1000 * spent / (rate * (seconds + warm_up))
    return Load(rate, float(np.median(milliseconds)), float(np.quantile(milliseconds, 0.99)), generator)


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process and those that it started have taken, in seconds."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return float(sum(times.user + times.system for times in (each.cpu_times() for each in family)))


def resident_mib(pid: int) -> list[float]:
    """Return the memory of a process and of each that it started, in MiB; pages they share count in each."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return [each.memory_info().rss / 2**20 for each in family]
