"""Requests are kept for a day, and a damaged response is never handed out."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from exemplar_server.errors import DataLossError
from exemplar_server.store import Request
from exemplar_server.store.truth.request_rows import answered, keep
from exemplar_server.store.truth.sqlite import SqliteDatabase

DAY = 24 * 3600 * 1_000_000
REQUEST: Request[bytes] = Request("the-id", "Change", b"digest", lambda outcome: outcome)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    database = SqliteDatabase(tmp_path)
    with database.transaction() as writer:
        assert isinstance(writer, sqlite3.Connection)
        yield writer
    database.close()


def test_a_response_is_kept_for_a_day_and_then_its_id_is_free(writer: sqlite3.Connection) -> None:
    keep(writer, REQUEST, b"first", now=1000)
    assert answered(writer, REQUEST, now=1000 + DAY - 1) == b"first"
    assert answered(writer, REQUEST, now=1000 + DAY) is None
    keep(writer, REQUEST, b"second", now=1000 + DAY)
    assert answered(writer, REQUEST, now=1000 + DAY) == b"second"


def test_responses_that_were_kept_long_enough_go_with_the_next_that_is_kept(writer: sqlite3.Connection) -> None:
    for number in range(5):
        keep(writer, Request(f"id-{number}", "Change", b"digest", lambda outcome: outcome), b"", now=number)
    keep(writer, REQUEST, b"", now=DAY + 2)
    left = [row[0] for row in writer.execute("SELECT id FROM requests ORDER BY time")]
    assert left == ["id-3", "id-4", "the-id"]


def test_of_the_responses_of_a_busy_day_some_go_at_a_time_and_the_oldest_first(writer: sqlite3.Connection) -> None:
    for number in range(250):
        keep(writer, Request(f"id-{number}", "Change", b"digest", lambda outcome: outcome), b"", now=number)
    left = []
    for number in range(4):
        keep(writer, Request(f"new-{number}", "Change", b"digest", lambda outcome: outcome), b"", now=3 * DAY)
        left.append(writer.execute("SELECT count(*), min(time) FROM requests").fetchone())
    assert left == [(151, 100), (52, 200), (3, 3 * DAY), (4, 3 * DAY)]


def test_an_id_is_free_even_where_its_old_response_has_yet_to_go(writer: sqlite3.Connection) -> None:
    for number in range(150):
        keep(writer, Request(f"id-{number}", "Change", b"digest", lambda outcome: outcome), b"", now=number)
    last: Request[bytes] = Request("id-149", "Other", b"another", lambda outcome: b"second")
    assert answered(writer, last, now=2 * DAY) is None
    keep(writer, last, b"", now=2 * DAY)
    assert answered(writer, last, now=2 * DAY) == b"second"


def test_what_is_to_go_is_found_without_reading_the_rest(writer: sqlite3.Connection) -> None:
    statements: list[str] = []
    writer.set_trace_callback(statements.append)
    keep(writer, REQUEST, b"", now=DAY)
    writer.set_trace_callback(None)
    (deletion,) = (statement for statement in statements if statement.startswith("DELETE"))
    plan = [row[3] for row in writer.execute(f"EXPLAIN QUERY PLAN {deletion}")]
    assert any("USING COVERING INDEX requests_by_time (time<?)" in step for step in plan)
    assert not any("SCAN" in step for step in plan)


@pytest.mark.parametrize("column", ["method", "digest", "response", "time"])
def test_a_damaged_row_is_told_and_never_answers(writer: sqlite3.Connection, column: str) -> None:
    keep(writer, REQUEST, b"first", now=1000)
    writer.execute(f"UPDATE requests SET {column} = 999")
    with pytest.raises(DataLossError, match="the-id does not match its checksum"):
        answered(writer, REQUEST, now=1001)
