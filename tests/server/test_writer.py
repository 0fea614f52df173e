"""Changes that wait are committed together: each by itself, in order, and not at all for those who have given up."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exemplar_server.call import Call, begin
from exemplar_server.errors import NotFoundError, ServiceError, UnavailableError
from exemplar_server.metrics import Metrics
from exemplar_server.readiness import Readiness
from exemplar_server.store import Exemplar, GalleryStore, NewClass, NewExemplar, open_store
from exemplar_server.store.gallery_store import SearchedGalleries
from exemplar_server.writer import Writer


def new(class_id: str) -> NewClass:
    exemplar = Exemplar(hashlib.sha256(class_id.encode()).hexdigest(), 10, 10, "PNG", 3)
    return NewClass(class_id, [NewExemplar(exemplar, b"abc", np.eye(4, dtype=np.float32)[0])])


def put(class_id: str) -> Callable[[SearchedGalleries], int]:
    return lambda store: store.put_classes("g", [new(class_id)])[1]


def delete(class_id: str) -> Callable[[SearchedGalleries], int]:
    return lambda store: store.delete_class("g", class_id)


def run(folder: Path, work: Callable[[Writer, GalleryStore, Metrics], Awaitable[None]], capacity: int = 100) -> None:
    async def inside() -> None:
        store, metrics = open_store(f"sqlite:{folder}"), Metrics()
        store.create_gallery("g", "model", 4)
        writer = Writer(store, metrics, Readiness(), capacity)
        try:
            await work(writer, store, metrics)
        finally:
            writer.close()
            store.close()

    asyncio.run(inside())


async def held(writer: Writer, release: threading.Event, changes: Sequence[Awaitable[Any]]) -> list[Any]:
    """Have the writer busy with a change until all others wait, so that they make one group."""
    entered = threading.Event()

    def wait(store: SearchedGalleries) -> None:
        entered.set()
        release.wait(30)

    first = asyncio.ensure_future(writer.change("g", wait))
    await asyncio.to_thread(entered.wait, 30)
    others = [asyncio.ensure_future(change) for change in changes]
    for _ in range(3):  # steps of the loop that each of them takes until it waits
        await asyncio.sleep(0)
    release.set()
    await first
    return await asyncio.gather(*others, return_exceptions=True)


def test_changes_that_wait_are_one_group_in_which_each_sees_those_before_it(tmp_path: Path) -> None:
    async def work(writer: Writer, store: GalleryStore, metrics: Metrics) -> None:
        changes = [writer.change("g", put("a")), writer.change("g", put("b")), writer.change("g", delete("a"))]
        revisions = await held(writer, threading.Event(), changes)
        assert revisions == sorted(set(revisions))
        assert [each.id for each in store.list_classes("g")] == ["b"]
        assert store.get_gallery("g").class_count == 1
        assert metrics.registry.get_sample_value("exemplar_commit_seconds_count") == 2

    run(tmp_path, work)


def test_a_change_that_is_refused_costs_only_itself(tmp_path: Path) -> None:
    async def work(writer: Writer, store: GalleryStore, metrics: Metrics) -> None:
        changes = [writer.change("g", put("a")), writer.change("g", delete("none")), writer.change("g", put("b"))]
        first, refused, last = await held(writer, threading.Event(), changes)
        assert isinstance(refused, NotFoundError)
        assert (first, last) == (2, 3)
        assert [each.id for each in store.list_classes("g")] == ["a", "b"]

    run(tmp_path, work)


def test_a_change_whose_caller_gave_up_while_it_waited_is_not_made(tmp_path: Path) -> None:
    async def work(writer: Writer, store: GalleryStore, metrics: Metrics) -> None:
        call, release = Call("a"), threading.Event()

        async def impatient() -> int:
            begin(call)
            return await writer.change("g", put("late"))

        async def hang_up() -> None:
            await asyncio.sleep(0)
            call.gone = True

        outcomes = await held(writer, release, [impatient(), hang_up(), writer.change("g", put("patient"))])
        assert isinstance(outcomes[0], UnavailableError)
        assert [each.id for each in store.list_classes("g")] == ["patient"]

    run(tmp_path, work)


def test_more_than_the_writer_holds_is_refused_with_a_time_to_come_back(tmp_path: Path) -> None:
    async def work(writer: Writer, store: GalleryStore, metrics: Metrics) -> None:
        changes = [writer.change("g", put(f"c{number}")) for number in range(6)]
        outcomes = await held(writer, threading.Event(), changes)
        refused = [each for each in outcomes if isinstance(each, ServiceError)]
        assert [each.reason for each in refused] == ["QUEUE_FULL"] * 3
        assert all((each.retry_after or 0) > 0 for each in refused)
        assert len(store.list_classes("g")) == 3

    run(tmp_path, work, capacity=4)


def test_what_waits_when_the_writer_is_closed_is_told_so(tmp_path: Path) -> None:
    async def work(writer: Writer, store: GalleryStore, metrics: Metrics) -> None:
        entered, release = threading.Event(), threading.Event()

        def wait(store: SearchedGalleries) -> None:
            entered.set()
            release.wait(30)

        begun = asyncio.ensure_future(writer.change("g", wait))
        await asyncio.to_thread(entered.wait, 30)
        waiting = asyncio.ensure_future(writer.change("g", put("a")))
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(asyncio.to_thread(writer.close))
        while not writer._closing:
            await asyncio.sleep(0)
        release.set()
        await closing
        await begun
        with pytest.raises(UnavailableError, match="shutting down"):
            await waiting
        assert store.list_classes("g") == []

    run(tmp_path, work)
