"""From the encoded images of many callers to embeddings, in batches.

Images are decoded by processes and embedded by one thread, which owns the encoder. While it is busy, decoded images
pile up; then it takes as many as a batch holds. Nobody waits for a batch to fill. Callers take turns, and where some
have few images batches are short, so that one with a thousand holds nobody up. What nobody waits for any more is
neither decoded nor embedded. An image that brings embedding to fail is found by embedding each of its batch alone.
What is taken in is bounded, counted in images and in the time that they take at the present pace; beyond that callers
are told when to come back.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import monotonic, perf_counter

import numpy as np

from exemplar_encoder import EncodedImage
from exemplar_encoder.arrays import Floats, Pixels
from exemplar_server.call import Call, this_call
from exemplar_server.decoding import DecodedImage, Decoders, Undecoded
from exemplar_server.errors import UnavailableError
from exemplar_server.exemplar_warnings import ExemplarWarning
from exemplar_server.metrics import Metrics
from exemplar_server.turns import Accounts, Turns

# Decoded images that wait for the encoder, and those that it has.
SLOTS_PER_BATCH_IMAGE = 4

# While callers with a few images and others with many are there, a batch takes about so long: the few wait no longer.
# Who called so long ago is still there.
_BATCH_SECONDS = 0.010
_THERE_SECONDS = 1.0
_UNEVEN = 4

_END_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class EmbeddedImage:
    """What is known of an image, what an inspection found in it, and its embedding float32 `[dimension]`."""

    format: str
    width: int
    height: int
    sha256: str
    warnings: list[ExemplarWarning]
    embedding: Floats


class _Job:
    """One caller's images and their results; touched by the event loop's thread only, but for `unwanted`."""

    __slots__ = ("call", "done", "remaining", "results")

    def __init__(self, count: int, call: Call, done: asyncio.Future[None]) -> None:
        self.results: list[EmbeddedImage | Exception | None] = [None] * count
        self.call = call
        self.remaining = count
        self.done = done

    def unwanted(self) -> bool:
        """Whether the caller went away, or one of its images was dropped."""
        return self.done.done() or self.call.expired


class _Item:
    __slots__ = ("image", "index", "job", "ready")

    def __init__(self, job: _Job, index: int) -> None:
        self.job = job
        self.index = index
        self.image: DecodedImage
        self.ready = 0.0


# An item with its result, or with what went wrong; None where nobody waits for it.
_Delivery = tuple[_Item, EmbeddedImage | Exception | None]


class Batcher:
    """See the module. Its methods belong to one event loop."""

    def __init__(
        self,
        decoders: Decoders,
        embed: Callable[[Pixels], Floats],
        metrics: Metrics,
        *,
        max_batch: int = 32,
        capacity: int = 1024,
        longest_wait: float = math.inf,
    ) -> None:
        """Start the thread; call it inside the event loop.

        Args:
            decoders: decode; they have begun, with `SLOTS_PER_BATCH_IMAGE` slots for each image of a batch.
            embed: embeds uint8 `[n, height, width, channels]`, n <= `max_batch`; called from one thread.
            metrics: told of waits, times and sizes.
            max_batch: images to embed at once.
            capacity: images to hold at once; one request that is larger is taken when nothing else is held.
            longest_wait: seconds that a request may have to wait for those before it.
        """
        self._decoders = decoders
        self._embed = embed
        self._metrics = metrics
        self._max_batch = max_batch
        self._capacity = capacity
        self._longest_wait = longest_wait
        self._loop = asyncio.get_running_loop()
        self._held = 0
        self._jobs: set[_Job] = set()
        self._there: dict[str, tuple[float, int]] = {}  # when each caller called last, and with how many images
        self._uneven = False
        self._seconds_per_image = 0.002  # to embed it
        self._pace = 0.002  # seconds from one image to the next while some are waiting
        self._delivered = 0.0
        self._to_embed: SimpleQueue[_Item | None] = SimpleQueue()
        metrics.queue_images.set_function(lambda: self._held)
        self._thread = threading.Thread(target=self._run_encoder, name="encoder", daemon=True)
        self._thread.start()

    async def embed(self, images: Sequence[EncodedImage], inspected: bool = False) -> list[EmbeddedImage | Exception]:
        """Embed encoded images; a bad one costs only its own result, and so does an accident with one.

        Args:
            images: the images.
            inspected: whether to look for what is wrong with each, too.

        Returns:
            One result for each: an `ImageError` where the image is at fault, another exception where the server is.

        Raises:
            UnavailableError: too much is waiting already, or more than the caller has time for; nothing of this
                request was taken in.
        """
        if not images:
            return []
        call = this_call()
        wait = self._held * self._pace
        longest = min(self._longest_wait, call.deadline - monotonic())
        if self._held and (self._held + len(images) > self._capacity or wait > longest):
            raise UnavailableError(
                "QUEUE_FULL",
                f"{self._held:,} images are waiting, for which the server takes about {wait:.2g} s, and it holds "
                f"{self._capacity:,} at most; try again later",
                {"held": str(self._held), "capacity": str(self._capacity)},
                retry_after=min(10.0, max(0.05, wait)),
            )
        self._note(call.caller, len(images))
        self._held += len(images)
        job = _Job(len(images), call, self._loop.create_future())
        self._jobs.add(job)
        undecoded = [
            Undecoded(encoded, inspected, call.caller, job.unwanted, self._decoded(_Item(job, index)))
            for index, encoded in enumerate(images)
        ]
        self._decoders.submit(undecoded)
        try:
            await job.done
        finally:
            self._jobs.discard(job)
            for image in undecoded:  # of a call that was given up some still wait for their turn
                image.forget()
        return [result for result in job.results if result is not None]

    def close(self) -> None:
        """End the thread after the batch that it is at; who still waits is told that the server is stopping."""
        self._to_embed.put(None)
        self._thread.join(_END_PATIENCE)
        for job in self._jobs:
            if not job.done.done():
                job.done.set_exception(UnavailableError("DRAINING", "the server is shutting down", retry_after=1.0))

    def _note(self, caller: str, images: int) -> None:
        now = monotonic()
        self._there.pop(caller, None)
        self._there[caller] = now, images  # at the end: they are in the order of their latest calls
        while now - next(iter(self._there.values()))[0] > _THERE_SECONDS:
            del self._there[next(iter(self._there))]
        # Where there are as many callers as a batch has images, it is full whatever each has sent.
        sizes = [count for _, count in self._there.values()] if len(self._there) < self._max_batch else [1]
        self._uneven = _UNEVEN * min(sizes) < max(sizes)

    def _decoded(self, item: _Item) -> Callable[[DecodedImage | Exception | None], None]:
        def done(result: DecodedImage | Exception | None) -> None:
            if isinstance(result, DecodedImage):
                item.image = result
                item.ready = perf_counter()
                self._to_embed.put(item)
            else:
                self._deliver([(item, result)])

        return done

    def _run_encoder(self) -> None:
        waiting: Turns[_Item] = Turns(Accounts())
        while self._gather(waiting):
            batch = [waiting.take(1.0)]
            most = self._most_at_once()
            while waiting and len(batch) < most:
                batch.append(waiting.take(1.0))
            deliveries = self._embed_batch(batch)
            self._loop.call_soon_threadsafe(self._deliver_batch, [item.image.slot for item in batch], deliveries)

    def _gather(self, waiting: Turns[_Item]) -> bool:
        """Take what has been decoded, waiting for it where there is nothing else to do; False at the end."""
        try:
            item = self._to_embed.get(block=not waiting)
            while item is not None:
                waiting.add(item.job.call.caller, item)
                item = self._to_embed.get_nowait()
        except Empty:
            return True
        return False

    def _most_at_once(self) -> int:
        if not self._uneven:
            return self._max_batch
        return min(self._max_batch, max(len(self._there), int(_BATCH_SECONDS / self._seconds_per_image)))

    def _embed_batch(self, batch: list[_Item]) -> list[_Delivery]:
        start = perf_counter()
        kept = [item for item in batch if not item.job.unwanted()]
        deliveries: list[_Delivery] = [(item, None) for item in batch if item not in kept]
        if not kept:
            return deliveries
        try:
            embeddings = self._embed(np.stack([item.image.pixels for item in kept]))
        except Exception as error:  # noqa: BLE001 - it is the callers' answer; this thread serves others
            if len(kept) == 1:
                return [*deliveries, (kept[0], error)]
            return deliveries + [
                alone for item in kept for alone in self._embed_batch([item])
            ]  # it may be one's fault
        seconds = perf_counter() - start
        for item in kept:
            self._metrics.wait_seconds.observe(start - item.ready)
        self._metrics.encode_seconds.observe(seconds)
        self._metrics.batch_size.observe(len(kept))
        self._seconds_per_image += 0.1 * (seconds / len(kept) - self._seconds_per_image)
        return deliveries + [
            (item, _embedded(item.image, embedding)) for item, embedding in zip(kept, embeddings, strict=True)
        ]

    def _deliver_batch(self, slots: list[int], deliveries: Sequence[_Delivery]) -> None:
        self._decoders.release(slots)
        now = monotonic()
        if self._delivered:
            self._pace += 0.1 * ((now - self._delivered) / len(deliveries) - self._pace)
        self._deliver(deliveries)
        self._delivered = now if self._held else 0.0  # a pause for want of work says nothing of the pace

    def _deliver(self, deliveries: Sequence[_Delivery]) -> None:
        for item, result in deliveries:
            self._held -= 1
            job = item.job
            job.remaining -= 1
            if job.done.done():
                continue
            if result is None:
                job.done.set_exception(RuntimeError("an image was dropped"))
                continue
            job.results[item.index] = result
            if job.remaining == 0:
                job.done.set_result(None)


def _embedded(image: DecodedImage, embedding: Floats) -> EmbeddedImage | Exception:
    if not np.isfinite(embedding).all():
        return ArithmeticError("the network's embedding of the image holds values that are no numbers")
    return EmbeddedImage(image.format, image.width, image.height, image.sha256, image.warnings, embedding)
