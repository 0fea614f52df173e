"""Embedding the items of one shard: images are read and decoded by threads, and embedded in batches in their order.

What a shard holds depends on its items and the bundle alone. The engine's whole batches are cut at the same places
whoever embeds, and on a CPU an image's embedding has the same bits whatever else is in its batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import exemplar
from exemplar_encoder import EncodedImage, ImageError, PreparedImage, Region, RegionError, load_encoder
from exemplar_encoder.engines import BATCH_SIZES
from exemplar_indexer.images import ImageUnreadableError, read_image
from exemplar_indexer.items import Item
from exemplar_indexer.outcomes import Note
from exemplar_indexer.reach import ANYWHERE, Reach
from exemplar_indexer.readers import Readers
from exemplar_indexer.shard_folder import ShardError, ShardFolder
from exemplar_indexer.shard_plan import PLAN, Slice, read_plan
from exemplar_indexer.shard_writer import writing_shard
from exemplar_indexer.shards import Row

_BATCH = BATCH_SIZES[-1]

# More than there are processors: images behind URLs are waited for.
_READERS = 8
_READ_AHEAD = 2 * _BATCH

UNREADABLE = "IMAGE_UNREADABLE"
"""The reason of a failure that may be another time none."""


@dataclass(frozen=True)
class Work:
    """What all shards of a job have in common, for whoever embeds one, on this machine or another.

    Attributes:
        folder: Where shards go; a path or URL.
        bundle: Folder of the bundle.
        model: The bundle's id.
        image_urls: Leave images out of the shards and keep their URLs.
        reach: What images may be read from.
    """

    folder: str
    bundle: str
    model: str
    image_urls: bool
    reach: Reach = ANYWHERE


@dataclass(frozen=True)
class Finished:
    """A shard that is there now: how many classes are in it, and how many of its items are not."""

    number: int
    rows: int
    failed: int


@dataclass(frozen=True)
class _Read:
    item: Item
    image: EncodedImage
    prepared: PreparedImage


class Embedder:
    """A loaded bundle that makes shards, one after the other; a context manager."""

    def __init__(self, work: Work, threads: int | None = None) -> None:
        """Load the bundle; `threads` CPU threads share a batch, as many as there are CPUs when None.

        Raises:
            BundleError: The bundle cannot be used.
            ShardError: It is another one than the job's.
        """
        self._work = work
        self._folder = ShardFolder(work.folder)
        self._encoder = load_encoder(work.bundle, threads=threads)
        if self._encoder.bundle.id != work.model:
            raise ShardError(f"{work.bundle} is bundle {self._encoder.bundle.id} here, but the job's is {work.model}")
        self._readers = Readers(_READERS)

    def close(self) -> None:
        """Let go of the threads; what they have not begun is dropped, and nobody waits for what they have."""
        self._readers.close()

    def embed(self, part: Slice) -> Finished:
        """Make one shard, and put it in place.

        Raises:
            OSError: It cannot be written.
        """
        plan = read_plan(self._folder.read_part(PLAN, part.start, part.length))
        with writing_shard(self._folder, part.number, part.sha256, self._encoder.dimension) as shard:
            batch: list[_Read] = []
            for read in self._read_all(plan.items):
                if isinstance(read, Note):
                    shard.fail(read)
                    continue
                batch.append(read)
                if len(batch) == _BATCH:
                    for row in self._rows(batch):
                        shard.add(row)
                    batch = []
            for row in self._rows(batch):
                shard.add(row)
        return Finished(part.number, shard.written, len(shard.failures))

    def _read_all(self, items: Iterable[Item]) -> Iterator[_Read | Note]:
        ahead: deque[Future[_Read | Note]] = deque()
        for item in items:
            ahead.append(self._readers.submit(self._read, item))
            if len(ahead) == _READ_AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()

    def _read(self, item: Item) -> _Read | Note:
        try:
            image = EncodedImage(read_image(item.image, reach=self._work.reach), region_of(item))
            return _Read(item, image, self._encoder.prepare(image))
        except ImageUnreadableError as error:
            return Note.error(item.problem(UNREADABLE, str(error)))
        except ImageError as error:
            return Note.error(item.problem(f"IMAGE_{error.reason.name}", str(error)))
        except RegionError as error:
            return Note.error(item.problem("IMAGE_BAD_REGION", str(error)))

    def _rows(self, batch: Sequence[_Read]) -> Iterator[Row]:
        if not batch:
            return
        vectors = self._encoder.embed(np.stack([read.prepared.pixels for read in batch]))
        for read, vector in zip(batch, vectors, strict=True):
            item, region, of = read.item, read.image.region, read.prepared
            yield Row(
                id=item.class_id,
                display_name=item.display_name,
                attributes=item.attributes,
                sha256=of.sha256,
                region=None if region is None else str(region),
                width=of.width,
                height=of.height,
                format=of.format,
                size_bytes=len(read.image.content),
                vector=vector,
                model=self._work.model,
                image=None if self._work.image_urls else read.image.content,
                image_url=_url(item.image) if self._work.image_urls else None,
            )


def region_of(item: Item) -> Region | None:
    """Return the part of an item's image that is meant; None for the whole.

    Raises:
        RegionError: No image has such a part.
    """
    if not item.region:
        return None
    box = exemplar.Region.parse(item.region)
    return Region(box.left, box.top, box.width, box.height, box.unit)


def _url(image: str) -> str:
    return image if "://" in image else f"file://{Path(image).absolute()}"
