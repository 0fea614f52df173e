"""A process that decodes images and does nothing else, so that it can be ended without loss.

Images come in through a socket, pixels go out through memory that it shares with the server, and what else is known
of an image through the socket, as a line of JSON. Each image has so much processor time: a timer of the process's own
ends the process when that is over, whatever it is doing. Memory is bounded for the process as a whole. It ends with
the socket, so with the server; signals that are meant for the server it leaves to the server.

It needs neither gRPC nor an engine: a worker that imports them takes many times the memory.
"""

from __future__ import annotations

import json
import mmap
import pickle
import resource
import signal
import socket
import struct
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from exemplar_encoder import EncodedImage, ImageError, ImageProblem, PreparedImage, Region
from exemplar_encoder.formats import decode_on_one_thread
from exemplar_server.exemplar_warnings import ExemplarWarning

MIB = 1024 * 1024

# The slot for the pixels, whether to inspect the image, and the bytes of region and content, which follow.
HEADER = struct.Struct("=I?II")
LENGTH = struct.Struct("=I")


@dataclass(frozen=True)
class Work:
    """What a worker does to each image, and within which limits; it is pickled.

    Attributes:
        prepare: makes the network's input of an image.
        inspect: finds what is wrong with a prepared image.
        shape: `(height, width, channels)` of the network's input.
        seconds: processor time for one image.
        memory: bytes that the process may take beyond what it starts with.
    """

    prepare: Callable[[EncodedImage], PreparedImage]
    inspect: Callable[[PreparedImage], list[ExemplarWarning]]
    shape: tuple[int, int, int]
    seconds: float
    memory: int

    @property
    def slot_bytes(self) -> int:
        """The bytes of one image's pixels."""
        return int(np.prod(self.shape))


def main(channel: int, memory: int) -> None:
    """Work until the channel is closed.

    Args:
        channel: file descriptor of the socket.
        memory: file descriptor of the memory that is shared.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=channel) as connection, connection.makefile("rb") as stream:
        start = stream.read(LENGTH.size)
        if not start:
            return
        work: Work = pickle.loads(stream.read(*LENGTH.unpack(start)))  # noqa: S301 - the server wrote it
        decode_on_one_thread()
        _bound_memory(work.memory)
        with mmap.mmap(memory, 0) as shared:
            slots = np.frombuffer(shared, np.uint8).reshape(-1, *work.shape)
            connection.sendall(b"{}\n")
            while header := stream.read(HEADER.size):
                slot, inspect, *lengths = HEADER.unpack(header)
                answer = _work(work, slots[slot], inspect, stream, lengths)
                connection.sendall(json.dumps({"slot": slot, **answer}).encode() + b"\n")
            del slots


def _work(work: Work, slot: Any, inspect: bool, stream: BinaryIO, lengths: list[int]) -> dict[str, Any]:
    region, content = (stream.read(length) for length in lengths)
    before = _processor_seconds()
    signal.setitimer(signal.ITIMER_PROF, work.seconds)
    try:
        answer = _answer(
            work, slot, inspect, EncodedImage(content, Region.parse(region.decode()) if region else None)
        )
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return {"seconds": _processor_seconds() - before, **answer}


def _answer(work: Work, slot: Any, inspect: bool, image: EncodedImage) -> dict[str, Any]:
    try:
        prepared = work.prepare(image)
        found = work.inspect(prepared) if inspect else []
        slot[...] = prepared.pixels
    except ImageError as error:
        return {"problem": error.reason.name, "message": str(error)}
    except MemoryError:
        message = f"decoding it takes more than {work.memory // MIB:,} MiB of memory"
        return {"problem": ImageProblem.TOO_COSTLY.name, "message": message}
    except Exception:  # noqa: BLE001 - it is the server's to tell; this process serves others
        return {"failure": traceback.format_exc()}
    return {
        "image": [prepared.format, prepared.width, prepared.height, prepared.sha256],
        "warnings": [[warning.kind, warning.message] for warning in found],
    }


def _processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _bound_memory(more: int) -> None:
    statm = Path("/proc/self/statm")
    if not statm.exists():  # elsewhere than on Linux, where the limit has no effect either
        return
    pages = int(statm.read_text().split()[0])
    limit = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
