"""Move a job's pending items to the server: several batches in flight, memory bounded, restarts ridden out.

Each worker takes items from the journal, reads their images, sends them, and commits the answer before it takes more.
A worker holds one batch of images (`MAX_BATCH_BYTES`, and the few that are being read), whatever the job's size.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from exemplar import (
    AsyncClient,
    DeadlineExceededError,
    Enrolled,
    Enrollment,
    ExemplarError,
    Part,
    Region,
    UnavailableError,
)
from exemplar_indexer.images import ImageUnreadableError, read_image
from exemplar_indexer.items import Item
from exemplar_indexer.journal import Journal
from exemplar_indexer.outcomes import Note, Outcome

MAX_BATCH_BYTES = 8 * 1024 * 1024

# Images of one batch that are read at the same time; it matters for URLs.
_READ_AHEAD = 8

_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0

# Errors that say nothing of the items: the same may be accepted later.
_FOR_NOW = (UnavailableError, DeadlineExceededError)

# A server may be set to smaller batches or messages than this job's.
_TOO_LARGE = frozenset({"BATCH_TOO_LARGE", "MESSAGE_TOO_LARGE"})


@dataclass(frozen=True)
class Delivery:
    """How a job's items are sent, and where to.

    Attributes:
        gallery: Id of the gallery.
        batch_size: Classes a request, 1 to 256.
        in_flight: Requests at a time.
        strict: Refuse exemplars that have warnings.
        patience: Seconds for which a batch is offered to a server that does not answer.
    """

    gallery: str
    batch_size: int = 64
    in_flight: int = 4
    strict: bool = False
    patience: float = 120.0


@dataclass(frozen=True)
class Loaded:
    """An item with its image's bytes."""

    item: Item
    content: bytes

    def image(self) -> bytes | Part:
        """Return what is to be enrolled of it."""
        return Part(self.content, Region.parse(self.item.region)) if self.item.region else self.content


class Pipeline:
    """Run a job's pending items; whatever ends it, the journal holds what was acknowledged."""

    def __init__(
        self,
        client: AsyncClient,
        journal: Journal,
        delivery: Delivery,
        on_progress: Callable[[Sequence[Outcome]], None],
    ) -> None:
        """Prepare a run; `on_progress` gets each batch's outcomes after they are committed."""
        self._client = client
        self._journal = journal
        self._delivery = delivery
        self._on_progress = on_progress
        self._taken = 0

    async def run(self) -> None:
        """Enroll every pending item.

        Raises:
            ExemplarError: The server refused a whole batch, or did not answer for as long as the job's patience.
        """
        workers = [asyncio.create_task(self._work()) for _ in range(self._delivery.in_flight)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self) -> None:
        while items := self._take():
            async for batch in self._batches(items):
                self._commit(await self._send(batch))

    def _take(self) -> list[Item]:
        rows = self._journal.pending(self._taken, self._delivery.batch_size)
        if rows:
            self._taken = rows[-1][0]
        return [item for _, item in rows]

    def _commit(self, outcomes: Sequence[Outcome]) -> None:
        self._journal.acknowledge(outcomes)
        self._on_progress(outcomes)

    async def _batches(self, items: Sequence[Item]) -> AsyncIterator[list[Loaded]]:
        batch: list[Loaded] = []
        size = 0
        for start in range(0, len(items), _READ_AHEAD):
            reads = (asyncio.to_thread(_read, item) for item in items[start : start + _READ_AHEAD])
            for read in await asyncio.gather(*reads):
                if isinstance(read, Outcome):
                    self._commit([read])
                    continue
                if batch and size + len(read.content) > MAX_BATCH_BYTES:
                    yield batch
                    batch, size = [], 0
                batch.append(read)
                size += len(read.content)
        if batch:
            yield batch

    async def _send(self, batch: Sequence[Loaded]) -> list[Outcome]:
        """Enroll a batch, and offer what the server cannot take now again until the job's patience ends."""
        outcomes: list[Outcome] = []
        give_up = time.monotonic() + self._delivery.patience
        pause = _FIRST_PAUSE
        while True:
            try:
                answers = await self._enroll(batch)
            except _FOR_NOW as error:
                answers = [error] * len(batch)
            except ExemplarError as error:
                if error.reason not in _TOO_LARGE or len(batch) == 1:
                    raise
                half = len(batch) // 2
                return outcomes + await self._send(batch[:half]) + await self._send(batch[half:])
            pairs = list(zip(batch, answers, strict=True))
            outcomes += [
                _outcome(loaded.item, answer) for loaded, answer in pairs if not isinstance(answer, _FOR_NOW)
            ]
            left = [(loaded, answer) for loaded, answer in pairs if isinstance(answer, _FOR_NOW)]
            if not left:
                return outcomes
            batch, failure = [loaded for loaded, _ in left], left[0][1]
            if time.monotonic() > give_up:
                raise failure
            await asyncio.sleep(max(failure.retry_after or 0.0, pause * random.uniform(0.5, 1.0)))
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _enroll(self, batch: Sequence[Loaded]) -> list[Enrolled | ExemplarError]:
        wanted = [
            Enrollment(each.item.class_id, each.image(), each.item.display_name, each.item.attributes)
            for each in batch
        ]
        return await self._client.enroll_many(self._delivery.gallery, wanted, strict=self._delivery.strict)


def _read(item: Item) -> Loaded | Outcome:
    try:
        return Loaded(item, read_image(item.image))
    except ImageUnreadableError as error:
        return Outcome.failed(item, "IMAGE_UNREADABLE", str(error))


def _outcome(item: Item, answer: Enrolled | ExemplarError) -> Outcome:
    if isinstance(answer, ExemplarError):
        return Outcome.failed(item, answer.reason, answer.message, answer.code)
    warnings = [
        Note("warning", item.class_id, item.image, item.place, "", warning.kind, warning.message)
        for warning in answer.warnings
    ]
    return Outcome(item.class_id, True, warnings)
