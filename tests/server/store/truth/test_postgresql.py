"""The truth in PostgreSQL beyond the interface: several servers on one database, which may go away and come back."""

from __future__ import annotations

import errno
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg
import pytest

from exemplar_server.errors import (
    AlreadyExistsError,
    NotFoundError,
    ResourceExhaustedError,
    StartError,
    UnavailableError,
)
from exemplar_server.store import open_truth
from exemplar_server.store.records import ClassRecord, Gallery, StoredClass
from exemplar_server.store.request import RepeatedRequest, Request
from exemplar_server.store.truth import postgresql
from exemplar_server.store.truth.migrations import newest
from exemplar_server.store.truth.postgresql import PostgresDatabase
from exemplar_server.store.truth.postgresql_connections import RawConnection
from exemplar_server.store.truth.sql_truth import SqlTruth
from tests.contract.stores import DIMENSION, MODEL, new_class
from tests.postgres_server import PostgresServer, with_schema

PATIENCE = 20


@contextmanager
def opened(url: str) -> Iterator[SqlTruth]:
    truth = SqlTruth(PostgresDatabase(url))
    try:
        yield truth
    finally:
        truth.close()


@contextmanager
def servers(url: str, count: int = 2) -> Iterator[list[SqlTruth]]:
    """Open the truth as that many servers would, with an empty gallery `g`."""
    truths = [SqlTruth(PostgresDatabase(url)) for _ in range(count)]
    try:
        truths[0].create_gallery("g", MODEL, DIMENSION)
        yield truths
    finally:
        for truth in truths:
            truth.close()


@pytest.fixture
def truth(postgres_url: str) -> Iterator[SqlTruth]:
    with servers(postgres_url, 1) as (only,):
        yield only


def run(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements behind the truth's back; return the rows of the last."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def at_once(calls: list[Callable[[], object]]) -> list[object]:
    """Make calls at the same time; return what each gave or raised."""
    start = threading.Barrier(len(calls))

    def make(call: Callable[[], object]) -> object:
        start.wait(PATIENCE)
        try:
            return call()
        except Exception as error:  # noqa: BLE001 - what was raised is looked at
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(make, calls))


# A database that goes away


def test_a_database_that_goes_away_is_told_and_used_again_when_it_is_back() -> None:
    told: queue.Queue[object] = queue.Queue()
    with PostgresServer() as server:
        database = PostgresDatabase(server.url)
        truth = SqlTruth(database)
        truth.create_gallery("g", MODEL, DIMENSION)
        at_once([lambda: truth.version("g")] * 6)  # so that several connections are lost
        database.on_availability(told.put)
        database.watch(told.put)
        assert told.get(timeout=PATIENCE) == ""
        for end in (server.kill, server.stop):
            end()
            assert told.get(timeout=PATIENCE) is False
            for call in (lambda: truth.get_gallery("g"), lambda: truth.put_classes("g", [new_class("a", 1)])):
                with pytest.raises(UnavailableError) as refused:
                    call()
                assert refused.value.reason == "STORE_UNAVAILABLE"
                assert refused.value.retry_after
            server.start()
            before = truth.get_gallery("g").revision
            assert truth.put_classes("g", [new_class("a", 1)])[1] == before + 1
            assert told.get(timeout=PATIENCE) is True
            assert told.get(timeout=PATIENCE) == ""
            while not told.empty():
                assert told.get() == "g"
        truth.close()


def test_a_transaction_that_loses_its_connection_on_the_way_changes_nothing(
    postgres_url: str, truth: SqlTruth
) -> None:
    def lose_the_connection() -> None:
        with truth._database.transaction() as writer:
            writer.execute("DELETE FROM galleries")
            (pid,) = writer.execute("SELECT pg_backend_pid()").fetchone()
            run(postgres_url, f"SELECT pg_terminate_backend({pid})")
            writer.execute("SELECT 1")

    with pytest.raises(UnavailableError):
        lose_the_connection()
    assert truth.get_gallery("g").id == "g"


def test_who_waits_too_long_for_another_is_told_to_come_back(postgres_url: str) -> None:
    impatient = postgres_url + "%20-clock_timeout%3D100ms"
    with servers(postgres_url, 1) as (truth,), opened(impatient) as other:
        with truth._database.transaction() as writer:
            truth._gallery(writer, "g")
            with pytest.raises(UnavailableError, match="busy"):
                other.put_classes("g", [new_class("a", 1)])
        other.put_classes("g", [new_class("a", 1)])


def test_a_server_that_stalls_within_a_change_holds_up_the_others_for_a_while_only(
    postgres_url: str, truth: SqlTruth
) -> None:
    def stall(stalling: SqlTruth) -> None:
        with stalling._database.transaction() as writer:
            stalling._gallery(writer, "g")
            truth.put_classes("g", [new_class("a", 1)])  # comes about only when the other's lock is gone
            writer.execute("DELETE FROM galleries")

    impatient = postgres_url + "%20-cidle_in_transaction_session_timeout%3D200ms"
    with opened(impatient) as stalling, pytest.raises(UnavailableError):
        stall(stalling)
    assert truth.get_gallery("g").class_count == 1


def test_more_calls_at_once_than_connections_are_all_answered(truth: SqlTruth) -> None:
    answers = at_once([lambda: truth.get_gallery("g").id] * 40)
    assert answers == ["g"] * 40


def test_a_full_disk_is_told_and_changes_nothing(postgres_url: str, truth: SqlTruth) -> None:
    run(
        postgres_url,
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql"
        " AS $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full'; END $$",
        "CREATE TRIGGER full_disk BEFORE INSERT ON exemplars EXECUTE FUNCTION full_disk()",
    )
    with pytest.raises(ResourceExhaustedError):
        truth.put_classes("g", [new_class("a", 1)])
    assert truth.get_gallery("g").class_count == 0
    run(postgres_url, "DROP TRIGGER full_disk ON exemplars")
    truth.put_classes("g", [new_class("a", 1)])


# Starting


def test_servers_that_start_together_make_the_tables_once(postgres_url: str) -> None:
    results = at_once([lambda: PostgresDatabase(postgres_url)] * 6)
    for database in results:
        assert isinstance(database, PostgresDatabase), database
        database.close()
    assert run(postgres_url, "SELECT version FROM schema_version") == [(newest("postgresql"),)]


def test_a_database_of_a_newer_program_is_refused(postgres_url: str) -> None:
    with opened(postgres_url):
        pass
    run(postgres_url, f"UPDATE schema_version SET version = {newest('postgresql') + 1}")
    with pytest.raises(StartError, match=f"its format is {newest('postgresql') + 1}, this program knows"):
        PostgresDatabase(postgres_url)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("postgresql://postgres@/nothing?host=/nowhere", "'nothing' at /nowhere cannot be used"),
        ("postgresql://postgres@/x?color=red", "no address of a PostgreSQL database"),
    ],
)
def test_what_cannot_be_used_is_named_at_the_start(monkeypatch: pytest.MonkeyPatch, url: str, problem: str) -> None:
    monkeypatch.setattr(postgresql, "_START", 0.0)
    with pytest.raises(StartError, match=problem):
        PostgresDatabase(url)


@pytest.mark.parametrize("password", ["secret", "%secret", "a/secret", "a@secret", "[secret", "secret%00"])
@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_a_password_is_in_no_sentence(monkeypatch: pytest.MonkeyPatch, kind: str, password: str) -> None:
    monkeypatch.setattr(postgresql, "_START", 0.0)
    with pytest.raises(StartError) as refused:
        open_truth(f"{kind}://me:{password}@/nothing?host=/nowhere")
    assert "secret" not in str(refused.value)


def test_a_database_that_does_not_hold_every_character_is_refused(postgres: str) -> None:
    name = "latin"
    run(postgres, f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0")
    with pytest.raises(StartError, match="LATIN1"):
        PostgresDatabase(psycopg.conninfo.make_conninfo(postgres, dbname=name))


def test_what_is_acknowledged_is_durable_even_where_the_database_would_not_wait(postgres_url: str) -> None:
    database = PostgresDatabase(postgres_url + "%20-csynchronous_commit%3Doff")
    with database.reading() as reader:
        assert reader.execute("SHOW synchronous_commit").fetchone() == ("on",)
    database.close()


# What goes in and comes back


@pytest.mark.parametrize("text", ["\0", "\x1b", "\x1b0\x1be", "a\0b\x1bc\x1b", "%s ? $1 \\ ' 💐", "\x1b\0" * 3])
def test_every_text_comes_back_as_it_was(truth: SqlTruth, text: str) -> None:
    truth.put_classes("g", [new_class("a", 1, display_name=text, attributes={text: text})])
    record = truth.get_class("g", "a")
    assert (record.display_name, record.attributes) == (text, {text: text})


def test_a_change_that_failed_on_the_way_is_never_acknowledged(truth: SqlTruth) -> None:
    """PostgreSQL answers a COMMIT after a failed statement by a rollback, without an error."""

    def go_on_after_an_error() -> None:
        with truth._database.transaction() as writer:
            writer.execute("DELETE FROM galleries")
            with pytest.raises(psycopg.Error):
                writer.execute("SELECT 1 / 0")

    with pytest.raises(psycopg.Error):
        go_on_after_an_error()
    assert truth.get_gallery("g").id == "g"


# Several servers


def test_changes_of_one_gallery_by_several_servers_come_one_after_the_other(postgres_url: str) -> None:
    with servers(postgres_url) as truths:
        begin = truths[0].version("g")
        ids = [f"c{number}" for number in range(24)]

        def put(number: int) -> Callable[[], object]:
            return lambda: truths[number % 2].put_classes("g", [new_class(ids[number], number)])[1]

        revisions = at_once([put(number) for number in range(len(ids))])
        assert sorted(map(str, revisions)) == sorted(str(2 + number) for number in range(len(ids)))
        for truth in truths:
            assert truth.get_gallery("g").class_count == len(ids)
            changes = truth.changes("g", begin)
            assert changes is not None
            assert len(changes.put.rows) == len(ids)


def test_a_request_sent_to_several_servers_at_once_has_one_effect(postgres_url: str) -> None:
    def response(effect: tuple[list[StoredClass], int]) -> bytes:
        return str(effect[1]).encode()

    with servers(postgres_url) as truths:
        request = Request("id", "EnrollClass", b"digest", response)
        outcomes = at_once([partial(truth.put_classes, "g", [new_class("a", 1)], request) for truth in truths * 4])
        repeated = [outcome for outcome in outcomes if isinstance(outcome, RepeatedRequest)]
        assert len(repeated) == len(outcomes) - 1
        assert {each.response for each in repeated} == {b"2"}
        assert truths[0].get_gallery("g").revision == 2


def test_of_servers_that_make_one_gallery_at_once_one_does(postgres_url: str) -> None:
    with servers(postgres_url) as truths:
        outcomes = at_once([partial(truth.create_gallery, "new", MODEL, DIMENSION) for truth in truths * 4])
        made = [outcome for outcome in outcomes if isinstance(outcome, Gallery)]
        assert len(made) == 1
        assert all(isinstance(outcome, AlreadyExistsError) for outcome in outcomes if outcome not in made)


def test_a_gallery_that_another_server_deletes_is_gone_for_who_waited(postgres_url: str) -> None:
    with servers(postgres_url) as truths, ThreadPoolExecutor(1) as pool:
        with truths[0]._database.transaction() as writer:
            truths[0]._gallery(writer, "g")
            writer.execute("DELETE FROM galleries WHERE id = ?", ("g",))
            waiting = pool.submit(truths[1].put_classes, "g", [new_class("a", 1)])
            while not run(postgres_url, "SELECT 1 FROM pg_locks WHERE NOT granted"):
                assert not waiting.done()
        with pytest.raises(NotFoundError):
            waiting.result(PATIENCE)


def test_a_snapshot_does_not_see_what_another_server_changes_meanwhile(postgres_url: str) -> None:
    with servers(postgres_url) as (reading, writing), reading._database.snapshot() as reader:
        count = "SELECT count(*) FROM classes"
        assert reader.execute(count).fetchone() == (0,)
        writing.put_classes("g", [new_class("a", 1)])
        assert reader.execute(count).fetchone() == (0,)


def test_a_change_is_heard_by_the_others_once_it_is_committed(postgres_url: str) -> None:
    heard: queue.Queue[tuple[str, ClassRecord | None]] = queue.Queue()
    with servers(postgres_url) as (here, there):

        def look(gallery: str) -> None:
            heard.put((gallery, there.get_class("g", "a") if gallery else None))

        there._database.watch(look)
        assert heard.get(timeout=PATIENCE) == ("", None)
        with pytest.raises(NotFoundError):
            here.delete_class("g", "a")
        stored, _ = here.put_classes("g", [new_class("a", 1)])
        assert heard.get(timeout=PATIENCE) == ("g", stored[0].record)


def test_a_fault_of_one_who_is_told_does_not_keep_changes_from_the_others(postgres_url: str) -> None:
    heard: queue.Queue[str] = queue.Queue()

    def fail(gallery: str) -> None:
        raise ValueError(gallery)

    with servers(postgres_url) as (here, there):
        there._database.watch(fail)
        there._database.watch(heard.put)
        here.put_classes("g", [new_class("a", 1)])
        # Or the empty id, for any gallery, where this change was made before the database was listened to.
        assert heard.get(timeout=PATIENCE) in ("", "g")


def test_once_nobody_watches_nobody_is_told(postgres_url: str) -> None:
    heard: queue.Queue[str] = queue.Queue()
    with servers(postgres_url) as (here, there):
        there._database.watch(heard.put)
        heard.get(timeout=PATIENCE)
        there._database.unwatch()
        here.put_classes("g", [new_class("a", 1)])
        assert heard.empty()


def test_schemas_of_one_database_are_stores_apart(postgres: str) -> None:
    with servers(with_schema(postgres)), servers(with_schema(postgres)) as (truth, _):
        assert [each.id for each in truth.list_galleries()] == ["g"]


def test_changes_are_heard_again_after_a_time_without_file_descriptors(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: queue.Queue[str] = queue.Queue()
    with servers(postgres_url) as (_, there):
        assert isinstance(there._database, PostgresDatabase)
        connections = there._database._connections
        connect = connections.connect
        tries: list[None] = []

        def refuse_once() -> RawConnection:
            tries.append(None)
            if len(tries) == 1:
                raise OSError(errno.EMFILE, "too many open files")
            return connect()

        monkeypatch.setattr(connections, "connect", refuse_once)
        there._database.watch(heard.put)
        assert heard.get(timeout=PATIENCE) == ""
