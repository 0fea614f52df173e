"""The batcher: batches form by themselves, each image gets its own result, and what is held is bounded.

The decoding processes are real ones; what they decode are numbers, see `tests.server.numbers`.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np
import pytest

from exemplar_encoder import EncodedImage, ImageError, ImageProblem
from exemplar_encoder.arrays import Floats, Pixels
from exemplar_server.batcher import Batcher, EmbeddedImage
from exemplar_server.call import Call, begin
from exemplar_server.decoding import Decoders
from exemplar_server.errors import UnavailableError
from exemplar_server.metrics import Metrics
from tests.server.numbers import WORK

pytestmark = pytest.mark.process


class Network:
    """An embedding of two values, the image's number and its double; it takes `seconds`, and waits for `free`."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.seconds = 0.0
        self.threads: set[str] = set()
        self.entered = threading.Semaphore(0)
        self.free = threading.Event()
        self.free.set()

    def embed(self, batch: Pixels) -> Floats:
        self.threads.add(threading.current_thread().name)
        self.entered.release()
        assert self.free.wait(30)
        sleep(self.seconds)
        self.batches.append(batch.reshape(-1).tolist())
        if (batch == 66).any():
            raise RuntimeError("the network broke")
        numbers = batch.reshape(-1).astype(np.float32)
        numbers[numbers == 77] = np.nan
        return np.stack([numbers, numbers * 2], axis=1)

    async def wait_until_entered(self) -> None:
        assert await asyncio.to_thread(self.entered.acquire, timeout=30)


@asynccontextmanager
async def batcher_of(
    network: Network, *, decoders: int = 1, slots: int = 512, **options: Any
) -> AsyncIterator[Batcher]:
    metrics = Metrics()
    processes = Decoders(decoders)
    try:
        await processes.begin(WORK, slots, 1_000_000, metrics)
        batcher = Batcher(processes, network.embed, metrics, **options)
        try:
            yield batcher
        finally:
            network.free.set()
            batcher.close()
    finally:
        processes.close()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


def images(*contents: int | str) -> list[EncodedImage]:
    return [EncodedImage(str(item).encode()) for item in contents]


def values(results: Sequence[object]) -> list[object]:
    return [float(item.embedding[0]) if isinstance(item, EmbeddedImage) else item for item in results]


def problems(results: Sequence[object]) -> list[ImageProblem | None]:
    return [item.reason if isinstance(item, ImageError) else None for item in results]


def asked_by(caller: str, batcher: Batcher, *contents: int | str) -> asyncio.Task[list[EmbeddedImage | Exception]]:
    return asked(Call(caller), batcher, *contents)


def asked(call: Call, batcher: Batcher, *contents: int | str) -> asyncio.Task[list[EmbeddedImage | Exception]]:
    async def ask() -> list[EmbeddedImage | Exception]:
        begin(call)
        return await batcher.embed(images(*contents))

    return asyncio.create_task(ask())


def test_each_image_gets_its_own_result_in_order() -> None:
    async def test() -> None:
        network = Network()
        async with batcher_of(network, max_batch=4, decoders=2) as batcher:
            results = await batcher.embed(images(1, "bad", *range(3, 50)))
            found = values(results)
            assert found[0] == 1
            assert isinstance(found[1], ImageError)
            assert found[2:] == [3, *range(4, 50)]
            assert max(map(len, network.batches)) <= 4
            assert network.threads == {"encoder"}
            assert await batcher.embed([]) == []

    run(test)


def test_while_the_encoder_is_busy_callers_pile_up_and_share_a_batch() -> None:
    async def test() -> None:
        network = Network()
        network.free.clear()
        async with batcher_of(network, max_batch=8) as batcher:
            first = asyncio.create_task(batcher.embed(images(1)))
            await network.wait_until_entered()
            callers = [asyncio.create_task(batcher.embed(images(n))) for n in range(2, 12)]
            await asyncio.sleep(0)
            # A bad image comes out of the one process after all of these, without passing the encoder.
            (last,) = await batcher.embed(images("bad"))
            assert isinstance(last, ImageError)
            network.free.set()
            results = await asyncio.gather(first, *callers)
            assert [values(result) for result in results] == [[n] for n in range(1, 12)]
            assert list(map(len, network.batches)) == [1, 8, 2]

    run(test)


def test_who_has_no_time_to_wait_for_what_is_held_is_told_so_at_once() -> None:
    async def test() -> None:
        network = Network()
        network.free.clear()
        async with batcher_of(network) as batcher:
            held = asked_by("patient", batcher, *range(60))
            await network.wait_until_entered()
            with pytest.raises(UnavailableError) as refused:
                await asked(Call("hasty", monotonic() + 0.01), batcher, 1)
            assert refused.value.reason == "QUEUE_FULL"
            later = asked(Call("other", monotonic() + 60), batcher, 2)
            network.free.set()
            assert len(await held) == 60
            assert values(await later) == [2.0]

    run(test)


def test_who_would_wait_longer_than_is_allowed_is_refused_by_the_pace_that_was_seen() -> None:
    async def test() -> None:
        network = Network()
        network.seconds = 0.02
        async with batcher_of(network, max_batch=1, longest_wait=0.2) as batcher:
            await batcher.embed(images(*range(40)))  # two hundredths of a second each, as is learned
            held = asked_by("patient", batcher, *range(30))
            with pytest.raises(UnavailableError) as refused:
                await asked(Call("other", monotonic() + 60), batcher, 1)
            assert refused.value.reason == "QUEUE_FULL"
            assert 0.3 < (refused.value.retry_after or 0) < 3
            assert len(await held) == 30
            assert values(await asked(Call("other"), batcher, 2)) == [2.0]

    run(test)


def test_a_full_queue_refuses_a_request_whole_and_says_when_to_come_back() -> None:
    async def test() -> None:
        network = Network()
        network.free.clear()
        async with batcher_of(network, capacity=4) as batcher:
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
        async with batcher_of(Network(), capacity=2) as batcher:
            assert values(await batcher.embed(images(1, 2, 3))) == [1, 2, 3]

    run(test)


@pytest.mark.parametrize(
    ("content", "told"),
    [("66", "the network broke"), ("broken", "ZeroDivisionError"), ("77", "no numbers"), ("7", "an accident")],
)
def test_an_accident_with_one_image_costs_its_own_result_alone(content: str, told: str) -> None:
    async def test() -> None:
        network = Network()
        network.free.clear()
        async with batcher_of(network, max_batch=8) as batcher:
            first = asyncio.create_task(batcher.embed(images(1)))
            await network.wait_until_entered()
            other = asked_by("other", batcher, 5)
            together = asyncio.create_task(batcher.embed(images(1, content, 2), inspected=True))
            await asyncio.sleep(0)
            network.free.set()
            before, failed, after = values(await together)
            assert (before, after) == (1, 2)
            assert isinstance(failed, Exception)
            assert not isinstance(failed, ImageError)
            assert told in str(failed)
            assert values(await first) == [1]
            assert values(await other) == [5]

    run(test)


def test_images_of_a_caller_who_left_are_not_embedded_and_leave_their_room() -> None:
    async def test() -> None:
        network = Network()
        network.free.clear()
        async with batcher_of(network, max_batch=1, capacity=8) as batcher:
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


def test_at_the_end_who_still_waits_is_told_and_nothing_is_waited_for_without_a_limit() -> None:
    async def test() -> None:
        async with batcher_of(Network(), decoders=1) as batcher:
            held = asyncio.create_task(batcher.embed(images(1, "held /dev/zero")))
            await asyncio.sleep(0)
        with pytest.raises(UnavailableError) as stopped:
            await held
        assert stopped.value.reason == "DRAINING"

    run(test)


def test_an_inspection_s_findings_come_along() -> None:
    async def test() -> None:
        async with batcher_of(Network()) as batcher:
            inspected = await batcher.embed(images(1, "bad", 2), inspected=True)
            found = [item.warnings[0].message for item in inspected if isinstance(item, EmbeddedImage)]
            assert found == ["1", "2"]
            (plain,) = await batcher.embed(images(7))
            assert isinstance(plain, EmbeddedImage)
            assert plain.warnings == []

    run(test)


# What an image can do to its process


def test_an_image_without_end_costs_its_own_result_and_the_process_is_replaced() -> None:
    async def test() -> None:
        async with batcher_of(Network(), decoders=2) as batcher:
            results = await batcher.embed(images(1, "endless", 2, 3))
            assert problems(results) == [None, ImageProblem.TOO_COSTLY, None, None]
            assert "0.3 seconds of processor time" in str(results[1])
            assert values(await batcher.embed(images(*range(8)))) == list(range(8))

    run(test)


def test_an_image_that_takes_too_much_memory_costs_its_own_result() -> None:
    async def test() -> None:
        async with batcher_of(Network()) as batcher:
            results = await batcher.embed(images(1, "huge", 2))
            assert problems(results) == [None, ImageProblem.TOO_COSTLY, None]
            assert "200 MiB of memory" in str(results[1])

    run(test)


def test_an_image_that_ends_its_process_is_tried_once_more(tmp_path: Path) -> None:
    async def test() -> None:
        async with batcher_of(Network()) as batcher:
            results = await batcher.embed(images(f"once {tmp_path / 'first'}", 2, "crash", 3))
            assert problems(results) == [None, None, ImageProblem.TOO_COSTLY, None]
            assert values(results)[3] == 3

    run(test)


def test_a_process_that_is_killed_costs_nobody_an_answer() -> None:
    async def test() -> None:
        async with batcher_of(Network()) as batcher:
            (before,) = await batcher.embed(images(1))
            assert isinstance(before, EmbeddedImage)
            os.kill(before.width, signal.SIGKILL)
            (after,) = await batcher.embed(images(1))
            assert isinstance(after, EmbeddedImage)
            assert after.width != before.width

    run(test)


# Callers beside each other


def test_one_caller_s_heavy_images_leave_a_process_to_the_others() -> None:
    async def test() -> None:
        async with batcher_of(Network(), decoders=2) as batcher:
            endless = asked_by("a", batcher, *["endless"] * 4)
            light = b"\x89PNG\r\n\x1a\n" + bytes(8) + (8).to_bytes(4, "big") * 2
            assert problems(await endless_until(endless, batcher, light)) == [ImageProblem.TOO_COSTLY] * 4

    async def endless_until(
        endless: asyncio.Task[list[EmbeddedImage | Exception]], batcher: Batcher, light: bytes
    ) -> list[EmbeddedImage | Exception]:
        begin(Call("b"))
        served = 0
        while not endless.done():
            (failed,) = await batcher.embed([EncodedImage(light)])
            assert "UnicodeDecodeError" in str(failed)  # it is no number
            served += 1
        assert served > 20
        return await endless

    run(test)


def test_a_caller_with_many_images_does_not_hold_up_one_with_few() -> None:
    async def test() -> None:
        network = Network()
        network.free.clear()
        async with batcher_of(network, max_batch=8, slots=16) as batcher:
            many = asked_by("many", batcher, *[1] * 100)
            await network.wait_until_entered()
            few = asked_by("few", batcher, 2, 2, 2, 2)
            await asyncio.sleep(0)
            network.free.set()
            assert values(await few) == [2] * 4
            assert values(await many) == [1] * 100
            before = sum(map(len, network.batches[: 1 + max(i for i, b in enumerate(network.batches) if 2 in b)]))
            assert before <= 40

    run(test)


@pytest.mark.parametrize("gone", [True, False])
def test_what_nobody_waits_for_any_more_is_neither_decoded_nor_embedded(gone: bool) -> None:
    async def test() -> None:
        network = Network()
        network.free.clear()
        async with batcher_of(network, slots=4) as batcher:
            first = asked_by("first", batcher, 1)
            await network.wait_until_entered()
            call = Call("late")
            late = asked(call, batcher, 2, 2, 2, *["endless"] * 20)
            while batcher._to_embed.qsize() < 3:
                await asyncio.sleep(0.001)
            if gone:
                call.gone = True
            else:
                call.deadline = monotonic()
            network.free.set()
            with pytest.raises(RuntimeError, match="dropped"):
                await late
            assert values(await first) == [1]
            assert values(await batcher.embed(images(3))) == [3]
            assert network.batches == [[1], [3]]

    run(test)


def test_what_an_image_cost_is_charged_to_its_caller_whether_it_was_of_use_or_not() -> None:
    async def test() -> None:
        async with batcher_of(Network()) as batcher:
            assert problems(await asked_by("a", batcher, "spoiled 0.1")) == [ImageProblem.TRUNCATED]
            await asked_by("b", batcher, "bad")
            had = batcher._decoders._accounts.had
            assert had["a"] - had["b"] == pytest.approx(0.1, abs=0.09)

    run(test)


def test_the_content_of_an_abandoned_call_is_let_go_before_its_turn() -> None:
    async def test() -> None:
        network = Network()
        network.free.clear()
        async with batcher_of(network, slots=1) as batcher:
            first = asked_by("first", batcher, 1)
            await network.wait_until_entered()
            content = b"2" * 100_000
            late = asyncio.create_task(batcher.embed([EncodedImage(content)] * 8))
            await asyncio.sleep(0)
            held = sys.getrefcount(content)
            late.cancel()
            with pytest.raises(asyncio.CancelledError):
                await late
            del late
            for _ in range(2):  # until the loop lets go of the error, which holds the frames with the images
                await asyncio.sleep(0)
            gc.collect()
            assert sys.getrefcount(content) < held
            network.free.set()
            assert values(await first) == [1]

    run(test)
