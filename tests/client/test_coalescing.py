"""Single calls that are made at the same time share requests, and nothing else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from time import monotonic
from typing import Any

import grpc
import pytest

import exemplar
from exemplar import AsyncClient, Client
from exemplar.batching import MAX_ITEMS
from exemplar.requests import classification_options
from exemplar.v1 import classification_service_pb2 as pb
from exemplar.v1 import resources_pb2 as resources_pb
from tests.client.asking import both_clients, failing
from tests.client.scripted_server import Answer, ScriptedServer, fail, scripted_server, status

LONG = 30.0


def named(query: resources_pb.Query) -> pb.Classification:
    """Return an answer whose nearest class is what the image's bytes say."""
    return pb.Classification(verdict=pb.VERDICT_MATCH, matches=[pb.Match(class_id=query.image.content.decode())])


def batch(request: pb.BatchClassifyRequest, context: grpc.ServicerContext) -> pb.BatchClassifyResponse:
    """Answer each query, and refuse those that say `bad`."""
    bad = status(grpc.StatusCode.INVALID_ARGUMENT, "it is bad", "IMAGE_EMPTY")
    return pb.BatchClassifyResponse(
        results=[
            pb.BatchClassifyResult(error=bad)
            if query.image.content == b"bad"
            else pb.BatchClassifyResult(classification=named(query))
            for query in request.queries
        ]
    )


class Stalling:
    """Answers as another function does, once it may; tells when it was asked, and when a caller went away."""

    def __init__(self, answer: Callable[[Any, grpc.ServicerContext], Any]) -> None:
        self._answer = answer
        self.asked, self.may, self.gone = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, request: Any, context: grpc.ServicerContext) -> Any:
        context.add_callback(self.gone.set)
        self.asked.set()
        assert self.may.wait(LONG)
        return self._answer(request, context)


class Callers:
    """Calls of one client, from threads or from tasks of an event loop in a thread of its own."""

    def __init__(self, address: str, synchronous: bool, coalesce: float, **options: Any) -> None:
        self.client: Any
        self._loop = asyncio.new_event_loop()
        if synchronous:
            self._pool = ThreadPoolExecutor(64)
            self.client = Client(address, coalesce=coalesce, **options)
        else:
            self._pool = ThreadPoolExecutor(1)
            self._pool.submit(self._loop.run_forever)

            async def made() -> AsyncClient:
                return AsyncClient(address, coalesce=coalesce, **options)

            self.client = asyncio.run_coroutine_threadsafe(made(), self._loop).result(LONG)
        self.synchronous = synchronous

    def submit(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Future[Any]:
        if self.synchronous:
            return self._pool.submit(method, *arguments, **options)
        return asyncio.run_coroutine_threadsafe(method(*arguments, **options), self._loop)

    def classify(self, *names: str, gallery: str = "g", **options: Any) -> list[Future[Any]]:
        return [self.submit(self.client.classify, gallery, name.encode(), **options) for name in names]

    def wait_for(self, gathered: int) -> None:
        """Wait until so many calls have gathered."""
        give_up = monotonic() + LONG
        while (opened := self.client._opened) is None or (
            sum(len(each.waiting) for each in list(opened.coalescer._gathering.values())) != gathered
        ):
            assert monotonic() < give_up

    def close(self) -> None:
        self.submit(self.client.close).result(LONG)
        if not self.synchronous:
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._pool.shutdown()
        self._loop.close()


class Stage:
    """A server whose first single call is under way and stalls, and callers of it."""

    def __init__(self, server: ScriptedServer, callers: Callers, first: Stalling) -> None:
        self.server, self.callers, self._first = server, callers, first
        self.under_way = callers.classify("first")[0]
        assert first.asked.wait(LONG)

    def go_on(self) -> None:
        self._first.may.set()
        assert self.under_way.result(LONG).class_id == "first"

    def batches(self) -> list[list[str]]:
        return [
            [query.image.content.decode() for query in request.queries]
            for method, request in self.server.calls
            if method == "BatchClassify"
        ]


@contextmanager
def stage(synchronous: bool, answer: Any = batch, coalesce: float = LONG, **options: Any) -> Iterator[Stage]:
    first = Stalling(lambda request, context: pb.ClassifyResponse(classification=named(request.query)))
    with scripted_server({"Classify": first, "BatchClassify": answer}) as server:
        callers = Callers(server.address, synchronous, coalesce, **options)
        try:
            yield Stage(server, callers, first)
        finally:
            first.may.set()
            callers.close()


def nearest(answers: list[Future[Any]]) -> list[str | None]:
    return [each.result(LONG).class_id for each in answers]


@both_clients
def test_calls_that_come_while_one_is_under_way_share_the_next_request(synchronous: bool) -> None:
    with stage(synchronous) as on:
        names = [str(number) for number in range(20)]
        answers = on.callers.classify(*names)
        on.callers.wait_for(20)
        on.go_on()
        assert nearest(answers) == names
        assert [sorted(each, key=int) for each in on.batches()] == [names]


@both_clients
def test_a_call_that_is_alone_is_made_as_ever(synchronous: bool) -> None:
    with stage(synchronous) as on:
        on.go_on()
        assert nearest(on.callers.classify("again")) == ["again"]
        assert on.server.methods_called() == ["Classify", "Classify"]


@both_clients
def test_calls_that_ask_differently_share_no_request(synchronous: bool) -> None:
    with stage(synchronous) as on:
        # Of each kind one goes ahead, and stalls.
        asked: list[tuple[str, dict[str, Any]]] = [
            ("abc", {"top_k": 2, "false_accept_rate": 0.25, "model": "m"}),
            ("def", {"top_k": 2}),
            ("ghi", {"gallery": "other"}),
        ]
        answers = [each for names, options in asked for each in on.callers.classify(*names, **options)]
        on.callers.wait_for(6)
        on.go_on()
        assert nearest(answers) == list("abcdefghi")
        requests = [request for method, request in on.server.calls if method == "BatchClassify"]
        assert len(requests) == 3
        for request in requests:
            wanted = {query.image.content.decode() for query in request.queries}
            options = next(options for names, options in asked if wanted <= set(names))
            assert request.gallery == f"galleries/{options.get('gallery', 'g')}"
            assert request.options == classification_options(
                options.get("top_k"), options.get("false_accept_rate"), options.get("model")
            )


@both_clients
def test_an_error_of_one_is_its_callers_alone(synchronous: bool) -> None:
    with stage(synchronous) as on:
        good, bad, other = on.callers.classify("good", "bad", "other")
        on.callers.wait_for(3)
        on.go_on()
        assert nearest([good, other]) == ["good", "other"]
        with pytest.raises(exemplar.InvalidArgumentError, match="it is bad") as caught:
            bad.result(LONG)
        assert caught.value.reason == "IMAGE_EMPTY"
        assert len(on.batches()) == 1


@both_clients
def test_an_error_of_all_is_raised_for_each(synchronous: bool) -> None:
    def refuse(request: Any, context: grpc.ServicerContext) -> Any:
        fail(context, grpc.StatusCode.NOT_FOUND, "there is no gallery g", "GALLERY_NOT_FOUND")

    with stage(synchronous, refuse) as on:
        answers = on.callers.classify("a", "b")
        on.callers.wait_for(2)
        on.go_on()
        errors = [each.exception(LONG) for each in answers]
        assert [type(error) for error in errors] == [exemplar.NotFoundError] * 2
        assert errors[0] is not errors[1]


@both_clients
@pytest.mark.parametrize("reason", ["BATCH_TOO_LARGE", "ANSWER_TOO_LARGE"])
def test_what_fails_for_its_company_is_asked_by_itself(synchronous: bool, reason: str) -> None:
    def refuse(request: pb.BatchClassifyRequest, context: grpc.ServicerContext) -> pb.BatchClassifyResponse:
        if reason == "BATCH_TOO_LARGE":
            fail(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "too many", reason)
        error = status(grpc.StatusCode.RESOURCE_EXHAUSTED, "too much", reason)
        return pb.BatchClassifyResponse(results=[pb.BatchClassifyResult(error=error) for _ in request.queries])

    with stage(synchronous, refuse) as on:
        answers = on.callers.classify("a", "b")
        on.callers.wait_for(2)
        on.go_on()
        assert nearest(answers) == ["a", "b"]
        assert sorted(on.server.methods_called()) == ["BatchClassify", "Classify", "Classify", "Classify"]


@both_clients
def test_a_batch_is_repeated_while_the_server_is_unavailable(synchronous: bool) -> None:
    response = pb.BatchClassifyResponse(
        results=[pb.BatchClassifyResult(classification=named(resources_pb.Query()))] * 2
    )
    with stage(synchronous, failing(1, response)) as on:
        answers = on.callers.classify("a", "b")
        on.callers.wait_for(2)
        on.go_on()
        assert nearest(answers) == ["", ""]
        assert len(on.batches()) == 2


@both_clients
def test_nobody_waits_longer_for_company_than_the_latency_bound(synchronous: bool) -> None:
    with stage(synchronous, coalesce=0.01) as on:
        assert nearest(on.callers.classify("a", "b")) == ["a", "b"]
        assert not on.under_way.done()


@both_clients
def test_calls_that_fill_a_message_wait_for_nobody(synchronous: bool) -> None:
    with stage(synchronous) as on:
        names = [letter * 9_000_000 for letter in "abcd"]  # of which three fit
        assert nearest(on.callers.classify(*names)) == names
        assert not on.under_way.done()
        assert sorted(map(len, on.batches())) == [1, 3]


def test_as_many_calls_as_a_batch_may_hold_wait_for_nobody() -> None:
    with stage(False) as on:
        names = [str(number) for number in range(MAX_ITEMS + 1)]
        assert nearest(on.callers.classify(*names)) == names
        assert not on.under_way.done()
        assert sorted(map(len, on.batches())) == [1, MAX_ITEMS]


@both_clients
def test_each_caller_has_a_deadline_of_its_own(synchronous: bool) -> None:
    stalled = Stalling(batch)
    with stage(synchronous, stalled) as on:
        (patient,) = on.callers.classify("patient")
        on.callers.wait_for(1)
        (hasty,) = on.callers.classify("hasty", timeout=0.3)
        on.callers.wait_for(2)
        on.go_on()
        with pytest.raises(exemplar.DeadlineExceededError, match=r"did not answer within 0\.3 s"):
            hasty.result(LONG)
        assert not patient.done()
        stalled.may.set()
        assert nearest([patient]) == ["patient"]


@both_clients
def test_the_first_to_gather_may_give_up_before_the_others(synchronous: bool) -> None:
    with stage(synchronous) as on:
        (hasty,) = on.callers.classify("hasty", timeout=0.3)
        on.callers.wait_for(1)
        answers = on.callers.classify("a", "b")
        with pytest.raises(exemplar.DeadlineExceededError):
            hasty.result(LONG)
        assert nearest(answers) == ["a", "b"]
        assert [sorted(each) for each in on.batches()] == [["a", "b"]]


@both_clients
def test_a_batch_that_nobody_waits_for_is_cancelled(synchronous: bool) -> None:
    stalled = Stalling(batch)
    with stage(synchronous, stalled) as on:
        answers = on.callers.classify("a", "b", timeout=0.3)
        on.callers.wait_for(2)
        on.go_on()
        for each in answers:
            with pytest.raises(exemplar.DeadlineExceededError):
                each.result(LONG)
        assert stalled.gone.wait(LONG)
        stalled.may.set()
        assert nearest(on.callers.classify("c")) == ["c"]


def test_a_task_that_is_cancelled_takes_no_other_along() -> None:
    stalled = Stalling(batch)
    with stage(False, stalled) as on:
        one, two, three = on.callers.classify("one", "two", "three")
        on.callers.wait_for(3)
        three.cancel()
        on.callers.wait_for(2)
        on.go_on()
        assert stalled.asked.wait(LONG)
        one.cancel()
        stalled.may.set()
        assert nearest([two]) == ["two"]
        assert [sorted(each) for each in on.batches()] == [["one", "two"]]


def test_tasks_that_are_all_cancelled_end_their_request() -> None:
    stalled = Stalling(batch)
    with stage(False, stalled) as on:
        answers = on.callers.classify("one", "two")
        on.callers.wait_for(2)
        on.go_on()
        assert stalled.asked.wait(LONG)
        for each in answers:
            each.cancel()
        assert stalled.gone.wait(LONG)
        stalled.may.set()


@both_clients
def test_a_client_that_is_closed_leaves_nobody_waiting(synchronous: bool) -> None:
    stalled = Stalling(batch)
    with stage(synchronous, stalled) as on:
        answers = on.callers.classify("a", "b")
        on.callers.wait_for(2)
        on.go_on()
        assert stalled.asked.wait(LONG)
        late = on.callers.classify("c")
        on.callers.wait_for(1)
        on.callers.submit(on.callers.client.close).result(LONG)
        for each in (*answers, *late):
            with pytest.raises((exemplar.ExemplarError, CancelledError, ValueError, grpc.aio.UsageError)):
                each.result(LONG)
        stalled.may.set()


@both_clients
def test_embeddings_of_images_are_asked_for_together_too(synchronous: bool) -> None:
    def one(image: resources_pb.Image) -> resources_pb.Embedding:
        return resources_pb.Embedding(values=[float(image.content)])

    first = Stalling(lambda request, context: pb.EmbedResponse(embedding=one(request.image)))
    answers: dict[str, Answer] = {
        "Embed": first,
        "BatchEmbed": lambda request, context: pb.BatchEmbedResponse(
            results=[pb.BatchEmbedResult(embedding=one(image)) for image in request.images]
        ),
    }
    with scripted_server(answers) as server:
        callers = Callers(server.address, synchronous, LONG)
        waiting = [callers.submit(callers.client.embed, b"0")]
        assert first.asked.wait(LONG)
        waiting += [callers.submit(callers.client.embed, b"%d" % number) for number in (1, 2, 3)]
        callers.wait_for(3)
        first.may.set()
        assert [each.result(LONG).values for each in waiting] == [(0.0,), (1.0,), (2.0,), (3.0,)]
        assert server.methods_called() == ["Embed", "BatchEmbed"]
        callers.close()


def test_a_negative_time_is_refused() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        Client(coalesce=-1)
