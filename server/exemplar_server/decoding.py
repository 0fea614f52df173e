"""Decoding in processes: fair between callers by what it costs, and no image can stop it.

An image that takes too much processor time or memory costs its own result: the process that was at it ends, and
another takes its place. Whose image is next goes by the processor time that each caller has had. Light images, by
what their headers say, are sent ahead by a few, so that no process waits for the next; heavy ones go one at a time to
a process, never to all processes, and have no more pixels at once than one image may have, which bounds the memory.

Pixels come back in slots of shared memory. There are only so many: decoding goes no further ahead of embedding.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import pickle
import signal
import tempfile
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog

from exemplar_encoder import EncodedImage, ImageError, ImageProblem
from exemplar_encoder.arrays import Pixels
from exemplar_encoder.headers import glance
from exemplar_server.decoding_process import DecodingProcess
from exemplar_server.decoding_worker import HEADER, LENGTH, Work
from exemplar_server.errors import StartError
from exemplar_server.exemplar_warnings import ExemplarWarning, WarningKind
from exemplar_server.metrics import Metrics
from exemplar_server.turns import Accounts, Turns

_LIGHT_BYTES, _LIGHT_PIXELS = 256 * 1024, 500_000
_SENT_AHEAD = 8
_SECONDS, _SECONDS_PER_PIXEL = 2e-4, 2e-8  # guesses, until it is known
_RESTART_SECONDS = 0.3
_START_PATIENCE = 60.0

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An image whose pixels lie in a slot until that is released, and what an inspection found in it."""

    pixels: Pixels
    slot: int
    format: str
    width: int
    height: int
    sha256: str
    warnings: list[ExemplarWarning]


class Undecoded:
    """An image to be decoded.

    Args:
        encoded: the image.
        inspected: whether to look at it, too.
        caller: whose turn it takes.
        unwanted: whether nobody waits for it any more; asked before it is sent to a process.
        done: called once with the result: None where it was unwanted, an `ImageError` where the image is at fault,
            another exception where the server is.
    """

    __slots__ = ("caller", "done", "encoded", "inspected", "light", "pixels", "seconds", "slot", "tries", "unwanted")

    def __init__(
        self,
        encoded: EncodedImage,
        inspected: bool,
        caller: str,
        unwanted: Callable[[], bool],
        done: Callable[[DecodedImage | Exception | None], None],
    ) -> None:
        self.encoded = encoded
        self.inspected = inspected
        self.caller = caller
        self.unwanted = unwanted
        self.done = done
        size = glance(encoded.content)
        self.pixels = None if size is None else size[0] * size[1]
        self.light = len(encoded.content) <= _LIGHT_BYTES and self.pixels is not None and self.pixels <= _LIGHT_PIXELS
        self.seconds = _SECONDS + _SECONDS_PER_PIXEL * (self.pixels or len(encoded.content))
        self.slot = -1
        self.tries = 0

    def forget(self) -> None:
        """Let go of the content, since nobody waits for the result any more."""
        self.encoded = EncodedImage(b"")


class Decoders:
    """See the module. All of it belongs to one event loop."""

    def __init__(self, count: int) -> None:
        """Start so many processes; they wait for `begin`."""
        self._memory = _open_memory()
        self._sent: dict[DecodingProcess, deque[Undecoded]] = {}
        self._ready: set[DecodingProcess] = set()
        self._count = count
        self._begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._closed = False
        accounts = Accounts()
        self._accounts = accounts
        self._light: Turns[Undecoded] = Turns(accounts)
        self._heavy: Turns[Undecoded] = Turns(accounts)
        self._free: list[int] = []
        for _ in range(count):
            self._start()

    async def begin(self, work: Work, slots: int, max_pixels: int, metrics: Metrics) -> None:
        """Tell the processes what to do, and wait until they are ready for it.

        Args:
            work: what to do.
            slots: how many images may be decoded and not yet released.
            max_pixels: pixels of heavy images at once; one that has more is decoded when there is no other.
            metrics: told of times, and of processes that had to be ended.

        Raises:
            StartError: a process does not start.
        """
        self._work, self._max_pixels, self._metrics = work, max_pixels, metrics
        pickled = pickle.dumps(work)
        self._instruction = LENGTH.pack(len(pickled)) + pickled
        os.truncate(self._memory, slots * work.slot_bytes)
        shared = mmap.mmap(self._memory, 0)
        self._slots = np.frombuffer(shared, np.uint8).reshape(-1, *work.shape)
        self._free = list(range(slots))
        for process in self._sent:
            process.send(self._instruction)
        try:
            await asyncio.wait_for(self._begun, _START_PATIENCE)
        except TimeoutError:
            raise StartError("the processes that decode images do not start") from None

    @property
    def pids(self) -> list[int]:
        """The ids of the processes."""
        return [process.pid for process in self._sent]

    @property
    def shortage(self) -> str:
        """How many processes are not ready that should be, in words; empty where all are."""
        ready = len(self._ready)
        if self._closed or not self._begun.done() or ready >= self._count:
            return ""
        return f"{ready} of {self._count} processes that decode images are ready"

    def submit(self, images: Iterable[Undecoded]) -> None:
        """Take images in."""
        for image in images:
            (self._light if image.light else self._heavy).add(image.caller, image)
        self._dispatch()

    def release(self, slots: Iterable[int]) -> None:
        """Take slots back, whose pixels are needed no more."""
        self._free += slots
        self._dispatch()

    def close(self) -> None:
        """End the processes, whatever they do; of images that wait nothing is heard any more."""
        self._closed = True
        for process in self._sent:
            process.end()
        self._sent.clear()
        self._ready.clear()
        os.close(self._memory)

    def _start(self) -> None:
        process = DecodingProcess(self._memory, self._heard)
        self._sent[process] = deque()
        if self._begun.done():
            process.send(self._instruction)

    def _dispatch(self) -> None:
        while self._free and (process := self._least_busy()) is not None:
            light, heavy = self._light.standing(), self._heavy.standing()
            if heavy is not None and (light is None or heavy <= light) and self._send_heavy(process):
                continue
            if light is None:
                return
            self._send(process, self._light.take(0.0))

    def _least_busy(self) -> DecodingProcess | None:
        free = [
            process
            for process in self._ready
            if len(self._sent[process]) < _SENT_AHEAD and all(image.light for image in self._sent[process])
        ]
        return min(free, key=lambda process: len(self._sent[process]), default=None)

    def _send_heavy(self, process: DecodingProcess) -> bool:
        """Send the next heavy image unless that would be too many at once."""
        under_way = [image for sent in self._sent.values() for image in sent if not image.light]
        if len(under_way) >= max(1, self._count - 1):
            return False
        pixels = sum(self._pixels(image) for image in under_way)
        if under_way and pixels + self._pixels(self._heavy.first()) > self._max_pixels:
            return False
        self._send(process, self._heavy.take(0.0))
        return True

    def _pixels(self, image: Undecoded) -> int:
        return self._max_pixels if image.pixels is None else image.pixels

    def _send(self, process: DecodingProcess, image: Undecoded) -> None:
        if image.unwanted():
            image.done(None)
            return
        self._accounts.charge(image.caller, image.seconds)
        image.slot = self._free.pop()
        region = b"" if image.encoded.region is None else str(image.encoded.region).encode()
        content = image.encoded.content
        header = HEADER.pack(image.slot, image.inspected, len(region), len(content))
        self._sent[process].append(image)
        process.send(header + region, content)

    def _heard(self, process: DecodingProcess, message: dict[str, Any] | None) -> None:
        if message is None:
            self._lost(process)
        elif "slot" not in message:
            self._ready.add(process)
            if len(self._ready) == self._count and not self._begun.done():
                self._begun.set_result(None)
        else:
            self._decoded(self._sent[process].popleft(), message)
        self._dispatch()

    def _decoded(self, image: Undecoded, message: dict[str, Any]) -> None:
        self._accounts.charge(image.caller, message["seconds"] - image.seconds)
        if "image" in message:
            self._metrics.decode_seconds.observe(message["seconds"])
            found = [ExemplarWarning(WarningKind(sign), said) for sign, said in message["warnings"]]
            kind, width, height, sha256 = message["image"]
            image.done(DecodedImage(self._slots[image.slot], image.slot, kind, width, height, sha256, found))
            return
        self._free.append(image.slot)
        if "problem" in message:
            image.done(ImageError(ImageProblem[message["problem"]], message["message"]))
        else:
            image.done(RuntimeError(message["failure"]))

    def _lost(self, process: DecodingProcess) -> None:
        """Answer for the image at which a process ended, send the others elsewhere, and start another process."""
        code = process.end()
        sent = self._sent.pop(process)
        for image in sent:
            self._free.append(image.slot)
        if process not in self._ready:
            _log.error("a decoding process did not start", exit_code=code)
            if not self._begun.done():
                self._begun.set_exception(StartError("the processes that decode images do not start"))
            else:
                asyncio.get_running_loop().call_later(1.0, self._start_again)
            return
        self._ready.discard(process)
        self._metrics.decoders_ended.inc()
        if sent:
            image = sent.popleft()
            self._accounts.charge(image.caller, self._work.seconds + _RESTART_SECONDS - image.seconds)
            image.tries += 1
            if code == -signal.SIGPROF:
                said = f"decoding it takes more than {self._work.seconds:g} seconds of processor time"
                image.done(ImageError(ImageProblem.TOO_COSTLY, said))
            elif image.tries > 1:
                _log.warning("an image ended two processes", exit_code=code)
                image.done(ImageError(ImageProblem.TOO_COSTLY, "it ended each process that began to decode it"))
            else:  # perhaps it was not the image
                sent.appendleft(image)
        for image in sent:
            (self._light if image.light else self._heavy).add(image.caller, image)
        self._start()

    def _start_again(self) -> None:
        if not self._closed:
            self._start()


def _open_memory() -> int:
    """Return the file descriptor of memory that can be shared, without a name that anything could leave behind."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("exemplar-pixels")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
