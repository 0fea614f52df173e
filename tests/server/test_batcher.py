"""The batcher: batches form by themselves, each image gets its own result, and what is held is bounded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from exemplar_encoder import EncodedImage, ImageError, ImageProblem, PreparedImage
from exemplar_encoder.arrays import Floats, Pixels
from exemplar_server.batcher import Batcher, EmbeddedImage
from exemplar_server.errors import UnavailableError
from exemplar_server.exemplar_warnings import ExemplarWarning, WarningKind
from exemplar_server.metrics import Metrics


class Network:
    """An embedding of two values, the image's number and its double; waits while `busy` is held."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.threads: set[str] = set()
        self.entered = threading.Semaphore(0)
        self.free = threading.Event()
        self.free.set()

    def prepare(self, image: EncodedImage) -> PreparedImage:
        content = image.content
        if content == b"bad":
            raise ImageError(ImageProblem.TRUNCATED, "bad")
        if content == b"broken":
            raise MemoryError("no memory")
        return PreparedImage(
            np.full((1, 1, 1), int(content), np.uint8), "PNG", 1, 1, (0, 0, 1, 1), 1.0, image.sha256()
        )

    def embed(self, batch: Pixels) -> Floats:
        self.threads.add(threading.current_thread().name)
        self.entered.release()
        assert self.free.wait(30)
        self.batches.append(len(batch))
        if (batch == 66).any():
            raise RuntimeError("the network broke")
        numbers = batch.reshape(-1).astype(np.float32)
        return np.stack([numbers, numbers * 2], axis=1)

    async def wait_until_entered(self) -> None:
        assert await asyncio.to_thread(self.entered.acquire, timeout=30)


@contextmanager
def batcher_of(network: Network, **options: int) -> Iterator[Batcher]:
    batcher = Batcher(network.prepare, network.embed, Metrics(), **options)
    try:
        yield batcher
    finally:
        network.free.set()
        batcher.close()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


def images(*contents: int | bytes) -> list[EncodedImage]:
    return [EncodedImage(item if isinstance(item, bytes) else str(item).encode()) for item in contents]


def values(results: Sequence[object]) -> list[object]:
    return [float(item.embedding[0]) if isinstance(item, EmbeddedImage) else item for item in results]


def test_each_image_gets_its_own_result_in_order() -> None:
    async def test() -> None:
        network = Network()
        with batcher_of(network, max_batch=4, decoders=3) as batcher:
            results = await batcher.embed(images(1, b"bad", *range(3, 50)))
            found = values(results)
            assert found[0] == 1
            assert isinstance(found[1], ImageError)
            assert found[2:] == [3, *range(4, 50)]
            assert max(network.batches) <= 4
            assert network.threads == {"encoder"}
            assert await batcher.embed([]) == []

    run(test)


def test_while_the_encoder_is_busy_callers_pile_up_and_share_a_batch() -> None:
    async def test() -> None:
        network = Network()
        network.free.clear()
        with batcher_of(network, max_batch=8, decoders=1) as batcher:
            first = asyncio.create_task(batcher.embed(images(1)))
            await network.wait_until_entered()
            callers = [asyncio.create_task(batcher.embed(images(n))) for n in range(2, 12)]
            # A bad image comes out of the one decoder after all of these, without passing the encoder.
            (last,) = await batcher.embed(images(b"bad"))
            assert isinstance(last, ImageError)
            network.free.set()
            results = await asyncio.gather(first, *callers)
            assert [values(result) for result in results] == [[n] for n in range(1, 12)]
            assert network.batches == [1, 8, 2]

    run(test)


def test_a_full_queue_refuses_a_request_whole_and_says_when_to_come_back() -> None:
    async def test() -> None:
        network = Network()
        network.free.clear()
        with batcher_of(network, capacity=4) as batcher:
            held = asyncio.create_task(batcher.embed(images(1, 2, 3)))
            await network.wait_until_entered()
            with pytest.raises(UnavailableError) as refused:
                await batcher.embed(images(4, 5))
            assert refused.value.reason == "QUEUE_FULL"
            assert refused.value.retry_after is not None
            assert refused.value.retry_after > 0
            fits = asyncio.create_task(batcher.embed(images(6)))
            network.free.set()
            assert values(await held) == [1, 2, 3]
            assert values(await fits) == [6]
            assert values(await batcher.embed(images(4, 5))) == [4, 5]

    run(test)


def test_a_request_larger_than_the_queue_is_taken_when_nothing_is_held() -> None:
    async def test() -> None:
        with batcher_of(Network(), capacity=2) as batcher:
            assert values(await batcher.embed(images(1, 2, 3))) == [1, 2, 3]

    run(test)


@pytest.mark.parametrize(("content", "kind"), [(b"66", RuntimeError), (b"broken", MemoryError)])
def test_a_failure_reaches_its_caller_and_the_next_one_is_served(content: bytes, kind: type[Exception]) -> None:
    async def test() -> None:
        with batcher_of(Network(), max_batch=1, capacity=3) as batcher:
            with pytest.raises(kind):
                await batcher.embed(images(1, content, 2))
            while True:  # what was left of that request still counts until it came through
                try:
                    assert values(await batcher.embed(images(7, 8, 9))) == [7, 8, 9]
                except UnavailableError:
                    await asyncio.sleep(0)
                else:
                    break

    run(test)


def test_images_of_a_caller_who_left_are_not_embedded_and_leave_their_room() -> None:
    async def test() -> None:
        network = Network()
        network.free.clear()
        with batcher_of(network, max_batch=1, capacity=8, decoders=1) as batcher:
            first = asyncio.create_task(batcher.embed(images(1)))
            await network.wait_until_entered()
            left = asyncio.create_task(batcher.embed(images(2) * 7))
            await asyncio.sleep(0)
            left.cancel()
            with pytest.raises(asyncio.CancelledError):
                await left
            network.free.set()
            assert values(await first) == [1]
            while True:
                try:
                    assert values(await batcher.embed(images(3) * 8)) == [3] * 8
                except UnavailableError:
                    await asyncio.sleep(0)
                else:
                    break
            assert len(network.batches) == 9

    run(test)


def test_closing_finishes_what_was_taken_in() -> None:
    async def test() -> None:
        network = Network()
        network.free.clear()
        batcher = Batcher(network.prepare, network.embed, Metrics(), max_batch=2)
        held = asyncio.create_task(batcher.embed(images(1, 2, 3, 4, 5)))
        await network.wait_until_entered()
        with ThreadPoolExecutor(1) as pool:
            closed = pool.submit(batcher.close)
            network.free.set()
            assert values(await held) == [1, 2, 3, 4, 5]
            await asyncio.wrap_future(closed)

    run(test)


def test_an_inspection_looks_at_each_image_where_it_was_decoded_and_its_findings_come_along() -> None:
    threads: set[str] = set()

    def inspect(image: PreparedImage) -> list[ExemplarWarning]:
        threads.add(threading.current_thread().name)
        if image.pixels[0, 0, 0] == 7:
            raise ZeroDivisionError("an accident")
        return [ExemplarWarning(WarningKind.BLANK, str(image.pixels[0, 0, 0]))]

    async def test() -> None:
        with batcher_of(Network(), decoders=1) as batcher:
            inspected = await batcher.embed(images(1, b"bad", 2), inspect)
            found = [item.warnings[0].message for item in inspected if isinstance(item, EmbeddedImage)]
            assert found == ["1", "2"]
            assert threads == {"decoder-0"}
            with pytest.raises(ZeroDivisionError):
                await batcher.embed(images(7), inspect)
            (plain,) = await batcher.embed(images(7))
            assert isinstance(plain, EmbeddedImage)
            assert plain.warnings == []

    run(test)
