"""Who has a place, who is told to come back, and what the log does while nobody reads it."""

from __future__ import annotations

import asyncio
import io
import os
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from exemplar_server.errors import UnavailableError
from exemplar_server.log_stream import LogStream
from exemplar_server.rpc.admission import Admission, Share


def admission(**limits: int) -> Admission:
    return Admission(**{"max_calls": 12, "max_bytes": 100, "max_message_bytes": 10, **limits})


def taken_by(share: Share, caller: str) -> int:
    """Take as much as a caller can have."""
    return next(count for count in range(1000) if not share.take(caller, 1))


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def test_a_caller_alone_gets_half_and_each_further_one_an_equal_part_of_what_is_left() -> None:
    share = Share(1024)
    assert [taken_by(share, caller) for caller in "abc"] == [512, 256, 128]


def test_what_is_given_back_can_be_taken_again_and_nobody_is_remembered() -> None:
    share = Share(10)
    for _ in range(3):
        assert taken_by(share, "a") == 5
        share.give_back("a", 5)
    assert share.taken == 0
    assert share._by_caller == {}


def test_a_call_without_a_place_is_told_when_to_come_back() -> None:
    places = [admission_.enter("greedy") for admission_ in [admission()] for _ in range(6)]
    with pytest.raises(UnavailableError) as refused:
        places[0]._admission.enter("greedy")
    assert (refused.value.reason, refused.value.retry_after) == ("SERVER_BUSY", 0.5)
    places[0]._admission.enter("another").leave()
    for place in places:
        place.leave()
    assert places[0]._admission.calls.taken == 0


def test_messages_that_would_hold_too_many_bytes_are_refused_and_the_bytes_of_others_stay_counted() -> None:
    async def work() -> None:
        admitted = admission(max_bytes=100, max_message_bytes=50)
        first, second = admitted.enter("a"), admitted.enter("a")
        assert await first.read(message(b"x" * 50)) == b"x" * 50
        with pytest.raises(UnavailableError, match="messages of 50 bytes are being answered"):
            await second.read(message(b"y"))
        second.leave()
        assert admitted.bytes.taken == 50
        first.leave()
        assert admitted.bytes.taken == 0

    run(work())


def test_of_slow_messages_only_a_few_are_waited_for_and_quick_ones_pass_by() -> None:
    async def work() -> None:
        admitted = admission(max_bytes=40, max_message_bytes=10)  # four slow places, half of them for one caller
        held = [asyncio.ensure_future(admitted.enter("slow").read(never())) for _ in range(3)]
        done, waiting = await asyncio.wait(held, return_when=asyncio.FIRST_COMPLETED)
        (refused,) = done
        with pytest.raises(UnavailableError, match="other large messages are being read"):
            refused.result()
        assert len(waiting) == 2
        assert await admitted.enter("quick").read(message(b"z")) == b"z"
        for task in waiting:
            task.cancel()
        assert await asyncio.gather(*waiting, return_exceptions=True)
        assert admitted.slow.taken == 0

    run(work())


def test_a_caller_who_goes_away_while_his_message_is_read_is_no_refusal() -> None:
    async def work() -> None:
        reading = asyncio.ensure_future(admission().enter("a").read(never()))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    run(work())


def test_a_log_that_nobody_reads_keeps_no_writer_waiting_and_tells_what_it_lost() -> None:
    reader, writer = os.pipe()
    with open(reader) as read, open(writer, "w") as target:
        log = LogStream(target, lines=100)
        for number in range(20_000):  # a pipe holds 64 KiB
            log.write(f"line {number}\n")
        assert log.dropped > 0
        taken: list[str] = []
        reading = threading.Thread(target=lambda: taken.extend(iter(read.readline, "")), daemon=True)
        reading.start()
        log.drain(10)
        log.write("the last one\n")
        log.drain(10)
        target.close()
        reading.join(10)
    lost = [line for line in taken if "lines of the log were dropped here" in line]
    assert sum(int(line.split()[0].replace(",", "")) for line in lost) == log.dropped
    assert taken[0] == "line 0\n"


def test_a_log_whose_reader_is_gone_only_counts() -> None:
    target = io.StringIO()
    target.close()
    log = LogStream(target)
    log.write("lost\n")
    log.drain(10)
    assert log.dropped == 1


async def message(content: bytes) -> bytes:
    return content


async def never() -> bytes:
    await asyncio.Event().wait()
    return b""


def test_a_large_answer_counts_until_it_is_taken_and_a_small_one_does_not() -> None:
    async def work() -> None:
        admitted = admission(max_bytes=1000_000, max_message_bytes=400_000)
        first, second = admitted.enter("a"), admitted.enter("a")
        taken = asyncio.Event()

        async def send(content: bytes) -> None:
            await taken.wait()

        writing = asyncio.create_task(first.write(send, bytes(400_000)))
        await asyncio.sleep(0)
        assert admitted.bytes.taken == 400_000
        with pytest.raises(UnavailableError) as refused:
            second.hold(400_000)
        assert refused.value.reason == "SERVER_BUSY"
        second.hold(50_000)
        assert admitted.bytes.taken == 400_000
        taken.set()
        await writing
        first.leave()
        second.leave()
        assert admitted.bytes.taken == 0

    run(work())


def test_room_that_an_answer_was_given_before_it_was_built_is_not_counted_twice() -> None:
    async def work() -> None:
        admitted = admission(max_bytes=1000_000, max_message_bytes=400_000)
        place = admitted.enter("a")
        place.hold(300_000)
        place.hold(200_000)
        assert admitted.bytes.taken == 300_000
        place.hold(350_000)
        assert admitted.bytes.taken == 350_000
        place.leave()
        assert admitted.bytes.taken == 0

    run(work())
