"""From the encoded images of many callers to embeddings, in batches.

Images are decoded by a few threads and embedded by one, which owns the encoder. While it is busy, decoded images pile
up; then it takes as many as a batch holds. Nobody waits for a batch to fill. What is taken in is bounded, counted in
images; beyond that callers are told when to come back.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import perf_counter

import numpy as np

from exemplar_encoder import EncodedImage, ImageError, PreparedImage
from exemplar_encoder.arrays import Floats, Pixels
from exemplar_server.errors import UnavailableError
from exemplar_server.exemplar_warnings import ExemplarWarning
from exemplar_server.metrics import Metrics

Inspection = Callable[[PreparedImage], list[ExemplarWarning]]


@dataclass(frozen=True, slots=True)
class EmbeddedImage:
    """An image as the network saw it, what an inspection found in it, and its embedding float32 `[dimension]`."""

    image: PreparedImage
    warnings: list[ExemplarWarning]
    embedding: Floats


class _Job:
    """One caller's images and their results; touched by the event loop's thread only, but for `abandoned`."""

    __slots__ = ("done", "inspection", "remaining", "results")

    def __init__(self, count: int, inspection: Inspection | None, done: asyncio.Future[None]) -> None:
        self.results: list[EmbeddedImage | ImageError | None] = [None] * count
        self.inspection = inspection
        self.remaining = count
        self.done = done

    @property
    def abandoned(self) -> bool:
        """Whether the caller went away or one of its images failed for a reason of the server's."""
        return self.done.done()


class _Item:
    __slots__ = ("encoded", "image", "index", "job", "ready", "warnings")

    def __init__(self, job: _Job, index: int, encoded: EncodedImage) -> None:
        self.job = job
        self.index = index
        self.encoded = encoded
        self.image: PreparedImage | None = None
        self.warnings: list[ExemplarWarning] = []
        self.ready = 0.0


# An item with its result, or with what went wrong for a reason of the server's; None where nobody waits for it.
_Delivery = tuple[_Item, EmbeddedImage | ImageError | BaseException | None]


class Batcher:
    """See the module. Its methods belong to one event loop."""

    def __init__(
        self,
        prepare: Callable[[EncodedImage], PreparedImage],
        embed: Callable[[Pixels], Floats],
        metrics: Metrics,
        *,
        max_batch: int = 32,
        capacity: int = 1024,
        decoders: int = 2,
    ) -> None:
        """Start the threads; call it inside the event loop.

        Args:
            prepare: decodes one image and names it; called from many threads.
            embed: embeds uint8 `[n, height, width, channels]`, n <= `max_batch`; called from one thread.
            metrics: told of waits, times and sizes.
            max_batch: images to embed at once.
            capacity: images to hold at once; one request that is larger is taken when nothing else is held.
            decoders: threads that decode.
        """
        self._prepare = prepare
        self._embed = embed
        self._metrics = metrics
        self._max_batch = max_batch
        self._capacity = capacity
        self._loop = asyncio.get_running_loop()
        self._held = 0
        self._seconds_per_image = 0.002
        self._to_decode: SimpleQueue[_Item | None] = SimpleQueue()
        self._to_embed: SimpleQueue[_Item | None] = SimpleQueue()
        metrics.queue_images.set_function(lambda: self._held)
        self._threads = [
            threading.Thread(target=self._run_decoder, name=f"decoder-{number}", daemon=True)
            for number in range(decoders)
        ]
        self._threads.append(threading.Thread(target=self._run_encoder, name="encoder", daemon=True))
        for thread in self._threads:
            thread.start()

    async def embed(
        self, images: Sequence[EncodedImage], inspection: Inspection | None = None
    ) -> list[EmbeddedImage | ImageError]:
        """Embed encoded images; a bad one costs only its own result.

        Args:
            images: the images.
            inspection: looks at each decoded image, in the thread that decoded it.

        Raises:
            UnavailableError: too much is waiting already; nothing of this request was taken in.
        """
        if not images:
            return []
        if self._held and self._held + len(images) > self._capacity:
            raise UnavailableError(
                "QUEUE_FULL",
                f"{self._held:,} images are waiting and the server holds {self._capacity:,} at most; try again later",
                {"held": str(self._held), "capacity": str(self._capacity)},
                retry_after=min(10.0, max(0.05, self._held * self._seconds_per_image)),
            )
        self._held += len(images)
        job = _Job(len(images), inspection, self._loop.create_future())
        for index, encoded in enumerate(images):
            self._to_decode.put(_Item(job, index, encoded))
        await job.done
        return [result for result in job.results if result is not None]

    def close(self) -> None:
        """Finish what was taken in and end the threads."""
        for _ in self._threads[:-1]:
            self._to_decode.put(None)
        for thread in self._threads[:-1]:
            thread.join()
        self._to_embed.put(None)
        self._threads[-1].join()

    def _run_decoder(self) -> None:
        while (item := self._to_decode.get()) is not None:
            problem: Exception | None = None
            if not item.job.abandoned:
                start = perf_counter()
                try:
                    item.image = self._prepare(item.encoded)
                    if item.job.inspection is not None:
                        item.warnings = item.job.inspection(item.image)
                except Exception as error:  # noqa: BLE001 - it is the caller's answer; this thread serves others
                    problem = error
                else:
                    item.ready = perf_counter()
                    self._metrics.decode_seconds.observe(item.ready - start)
                    self._to_embed.put(item)
                    continue
            self._loop.call_soon_threadsafe(self._deliver, [(item, problem)])

    def _run_encoder(self) -> None:
        running = True
        while running:
            batch: list[_Item] = []
            item = self._to_embed.get()
            try:
                while item is not None:
                    batch.append(item)
                    if len(batch) == self._max_batch:
                        break
                    item = self._to_embed.get_nowait()
            except Empty:
                pass
            running = item is not None
            if batch:
                self._loop.call_soon_threadsafe(self._deliver, self._embed_batch(batch))

    def _embed_batch(self, batch: list[_Item]) -> list[_Delivery]:
        start = perf_counter()
        kept: list[tuple[_Item, PreparedImage]] = []
        deliveries: list[_Delivery] = []
        for item in batch:
            if item.image is None or item.job.abandoned:
                deliveries.append((item, None))
            else:
                kept.append((item, item.image))
        if not kept:
            return deliveries
        for item, _ in kept:
            self._metrics.wait_seconds.observe(start - item.ready)
        try:
            embeddings = self._embed(np.stack([image.pixels for _, image in kept]))
        except Exception as error:  # noqa: BLE001 - it is the callers' answer; this thread serves others
            return [(item, error) for item in batch]
        seconds = perf_counter() - start
        self._metrics.encode_seconds.observe(seconds)
        self._metrics.batch_size.observe(len(kept))
        self._seconds_per_image += 0.1 * (seconds / len(kept) - self._seconds_per_image)
        deliveries += [
            (item, EmbeddedImage(image, item.warnings, embedding))
            for (item, image), embedding in zip(kept, embeddings, strict=True)
        ]
        return deliveries

    def _deliver(self, deliveries: Sequence[_Delivery]) -> None:
        for item, result in deliveries:
            self._held -= 1
            job = item.job
            job.remaining -= 1
            if job.done.done():
                continue
            if isinstance(result, EmbeddedImage | ImageError):
                job.results[item.index] = result
                if job.remaining == 0:
                    job.done.set_result(None)
            else:
                job.done.set_exception(result or RuntimeError("an image was dropped"))
