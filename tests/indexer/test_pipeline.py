"""The pipeline against a scripted server: what it sends, how much at a time, and how it takes a refusal."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

import exemplar
from exemplar import AsyncClient
from exemplar.v1 import gallery_service_pb2 as gallery_pb
from exemplar.v1 import resources_pb2 as resources_pb
from exemplar_indexer.items import Item
from exemplar_indexer.journal import Journal
from exemplar_indexer.outcomes import Outcome
from exemplar_indexer.pipeline import MAX_BATCH_BYTES, Delivery, Pipeline
from tests.client.scripted_server import ScriptedServer, fail, scripted_server, status


def enrolled(class_id: str) -> gallery_pb.BatchEnrollClassesResult:
    stored = gallery_pb.EnrollClassResponse(
        image_class=resources_pb.ImageClass(name=f"galleries/g/classes/{class_id}")
    )
    return gallery_pb.BatchEnrollClassesResult(enrolled=stored)


def accept(request: Any, context: grpc.ServicerContext) -> Message:
    return gallery_pb.BatchEnrollClassesResponse(results=[enrolled(each.class_id) for each in request.enrollments])


def make(folder: Path, count: int, size: int = 10) -> list[Item]:
    items = []
    for number in range(count):
        image = folder / f"{number}.png"
        image.write_bytes(bytes(size))
        items.append(Item(str(number), str(image), str(image), "", {"n": str(number)}))
    return items


def run(server: ScriptedServer, journal: Journal, **settings: Any) -> list[Outcome]:
    outcomes: list[Outcome] = []

    async def move() -> None:
        async with AsyncClient(server.address, attempts=1) as client:
            await Pipeline(client, journal, Delivery("g", **settings), outcomes.extend).run()

    asyncio.run(move())
    return outcomes


def sent(server: ScriptedServer) -> list[str]:
    return [each.class_id for _, request in server.calls for each in request.enrollments]


@pytest.fixture
def journal(tmp_path: Path) -> Any:
    with Journal(tmp_path / "job") as opened:
        yield opened


def test_every_item_is_sent_once_with_all_it_has(tmp_path: Path, journal: Journal) -> None:
    journal.scan(make(tmp_path, 50))
    with scripted_server({"BatchEnrollClasses": accept}) as server:
        assert len(run(server, journal, batch_size=8, strict=True)) == 50
    assert sorted(sent(server), key=int) == [str(number) for number in range(50)]
    first = server.calls[0][1]
    assert (first.gallery, first.strict) == ("galleries/g", True)
    assert all(len(request.enrollments) <= 8 for _, request in server.calls)
    assert all(dict(each.attributes) == {"n": each.class_id} for each in first.enrollments)
    assert journal.counts().done == 50


def test_a_part_of_an_image_is_sent_as_that(tmp_path: Path, journal: Journal) -> None:
    whole, pixels, fractions = make(tmp_path, 3)
    journal.scan([whole, replace(pixels, region="1,2,3,4"), replace(fractions, region="25%,0%,50%,100%")])
    with scripted_server({"BatchEnrollClasses": accept}) as server:
        run(server, journal)
    images = [each.images[0] for each in server.calls[0][1].enrollments]
    assert all(image.content == bytes(10) for image in images)
    assert not images[0].HasField("region")
    assert images[1].region.pixels == resources_pb.PixelBox(left=1, top=2, width=3, height=4)
    assert images[2].region.fractions == resources_pb.FractionBox(left=0.25, top=0, width=0.5, height=1)


def test_large_images_make_small_batches(tmp_path: Path, journal: Journal) -> None:
    journal.scan(make(tmp_path, 6, MAX_BATCH_BYTES * 2 // 5))
    with scripted_server({"BatchEnrollClasses": accept}) as server:
        run(server, journal)
    assert sorted(len(request.enrollments) for _, request in server.calls) == [2, 2, 2]


def test_as_many_requests_are_in_flight_as_asked_for_and_no_more(tmp_path: Path, journal: Journal) -> None:
    journal.scan(make(tmp_path, 12))
    together = threading.Barrier(3, timeout=20)  # breaks unless three requests are in flight at a time
    running, most, guard = [0], [0], threading.Lock()

    def answer(request: Any, context: grpc.ServicerContext) -> Message:
        with guard:
            running[0] += 1
            most[0] = max(most[0], running[0])
        together.wait()
        with guard:
            running[0] -= 1
        return accept(request, context)

    with scripted_server({"BatchEnrollClasses": answer}) as server:
        run(server, journal, batch_size=1, in_flight=3)
    assert most == [3]
    assert journal.counts().done == 12


def test_a_server_that_comes_back_finds_the_job_waiting(tmp_path: Path, journal: Journal) -> None:
    journal.scan(make(tmp_path, 4))
    left = [3]

    def answer(request: Any, context: grpc.ServicerContext) -> Message:
        left[0] -= 1
        if left[0] >= 0:
            fail(context, grpc.StatusCode.UNAVAILABLE, "draining", "DRAINING")
        return accept(request, context)

    with scripted_server({"BatchEnrollClasses": answer}) as server:
        run(server, journal, in_flight=1)
    assert len(server.calls) == 4
    assert journal.counts().done == 4


def test_a_server_that_stays_away_ends_the_job_and_nothing_is_lost(tmp_path: Path, journal: Journal) -> None:
    journal.scan(make(tmp_path, 4))

    def answer(request: Any, context: grpc.ServicerContext) -> Message:
        if request.enrollments[0].class_id != "0":
            fail(context, grpc.StatusCode.UNAVAILABLE, "draining", "DRAINING")
        return accept(request, context)

    with scripted_server({"BatchEnrollClasses": answer}) as server, pytest.raises(exemplar.UnavailableError):
        run(server, journal, batch_size=2, in_flight=1, patience=0.0)
    assert (journal.counts().done, journal.counts().pending) == (2, 2)


def test_an_item_for_which_there_was_no_room_is_offered_again_alone(tmp_path: Path, journal: Journal) -> None:
    journal.scan(make(tmp_path, 3))
    busy = status(grpc.StatusCode.UNAVAILABLE, "the queue is full", "QUEUE_FULL")

    def answer(request: Any, context: grpc.ServicerContext) -> Message:
        response = accept(request, context)
        if len(server.calls) == 1:
            response.results[1].CopyFrom(gallery_pb.BatchEnrollClassesResult(error=busy))  # type: ignore[attr-defined]
        return response

    with scripted_server({"BatchEnrollClasses": answer}) as server:
        run(server, journal)
    assert sent(server) == ["0", "1", "2", "1"]
    assert journal.counts().done == 3


def test_a_server_with_a_smaller_limit_gets_smaller_batches(tmp_path: Path, journal: Journal) -> None:
    journal.scan(make(tmp_path, 10))

    def answer(request: Any, context: grpc.ServicerContext) -> Message:
        if len(request.enrollments) > 3:
            fail(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "at most 3 items", "BATCH_TOO_LARGE")
        return accept(request, context)

    with scripted_server({"BatchEnrollClasses": answer}) as server:
        run(server, journal)
    assert journal.counts().done == 10


def test_a_refused_item_and_an_unreadable_one_fail_and_the_rest_is_in(tmp_path: Path, journal: Journal) -> None:
    items = make(tmp_path, 4)
    journal.scan(items)
    Path(items[3].image).unlink()
    refused = status(grpc.StatusCode.INVALID_ARGUMENT, "the image is empty", "IMAGE_EMPTY")

    def answer(request: Any, context: grpc.ServicerContext) -> Message:
        return gallery_pb.BatchEnrollClassesResponse(
            results=[
                gallery_pb.BatchEnrollClassesResult(error=refused)
                if each.class_id == "1"
                else enrolled(each.class_id)
                for each in request.enrollments
            ]
        )

    with scripted_server({"BatchEnrollClasses": answer}) as server:
        outcomes: Sequence[Outcome] = run(server, journal)
    assert {outcome.class_id for outcome in outcomes if not outcome.done} == {"1", "3"}
    assert {(note.class_id, note.reason) for note in journal.notes()} == {
        ("1", "IMAGE_EMPTY"),
        ("3", "IMAGE_UNREADABLE"),
    }
    assert (journal.counts().done, journal.counts().failed) == (2, 2)


def test_a_refusal_of_the_whole_ends_the_job_at_once(tmp_path: Path, journal: Journal) -> None:
    journal.scan(make(tmp_path, 10))

    def answer(request: Any, context: grpc.ServicerContext) -> Message:
        fail(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "the disk is full", "DISK_FULL")

    with scripted_server({"BatchEnrollClasses": answer}) as server:
        with pytest.raises(exemplar.ResourceExhaustedError, match="disk is full"):
            run(server, journal, batch_size=1, in_flight=1)
        assert len(server.calls) == 1
    assert journal.counts().pending == 10


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNKNOWN]
)
def test_an_item_that_fails_its_batch_is_found_and_the_rest_is_in(
    tmp_path: Path, journal: Journal, code: grpc.StatusCode
) -> None:
    journal.scan(make(tmp_path, 10))

    def answer(request: Any, context: grpc.ServicerContext) -> Message:
        if any(each.class_id == "6" for each in request.enrollments):
            fail(context, code, "a fault, incident 7", "")
        return accept(request, context)

    with scripted_server({"BatchEnrollClasses": answer}) as server:
        run(server, journal)
        assert len(server.calls) < 10
    assert (journal.counts().done, journal.counts().failed) == (9, 1)
    (note,) = journal.notes()
    assert (note.class_id, note.code, "incident 7" in note.message) == ("6", code.name, True)


def test_an_item_that_fits_no_message_of_the_server_fails_alone(tmp_path: Path, journal: Journal) -> None:
    journal.scan(make(tmp_path, 4))

    def answer(request: Any, context: grpc.ServicerContext) -> Message:
        if any(each.class_id == "2" for each in request.enrollments):
            fail(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "too large", "MESSAGE_TOO_LARGE")
        return accept(request, context)

    with scripted_server({"BatchEnrollClasses": answer}) as server:
        run(server, journal)
    assert (journal.counts().done, journal.counts().failed) == (3, 1)
    assert [(note.class_id, note.reason) for note in journal.notes()] == [("2", "MESSAGE_TOO_LARGE")]


def test_an_item_that_cannot_be_checked_once_more_is_warned_of_and_stays_in(tmp_path: Path, journal: Journal) -> None:
    kind = gallery_pb.ExemplarWarning.KIND_TOO_CLOSE

    def warn(request: Any, context: grpc.ServicerContext) -> Message:
        response = accept(request, context)
        for result in response.results:  # type: ignore[attr-defined]
            result.enrolled.warnings.add(kind=kind, message="near another")
        return response

    def check(request: Any, context: grpc.ServicerContext) -> Message:
        if request.class_id == "1":
            fail(context, grpc.StatusCode.INTERNAL, "a fault", "")
        return gallery_pb.CheckExemplarResponse()

    items = make(tmp_path, 3)
    journal.scan(items)
    with scripted_server({"BatchEnrollClasses": warn, "CheckExemplar": check}) as server:
        run(server, journal)
    assert journal.counts().done == 3
    assert [(note.level, note.class_id, note.reason, note.code) for note in journal.notes()] == [
        ("warning", "1", "CHECK_FAILED", "INTERNAL")
    ]
    journal.scan(items)
    answers = {"CheckExemplar": lambda request, context: gallery_pb.CheckExemplarResponse()}
    with scripted_server(answers) as server:
        run(server, journal)
        assert [request.class_id for _, request in server.calls] == ["1"]
    assert not list(journal.notes())
