"""Classes are found by an exemplar however many of them there are."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from exemplar_server.store.truth import class_rows
from exemplar_server.store.truth.sqlite import SqliteDatabase


def test_the_classes_of_an_exemplar_are_found_without_reading_the_others(tmp_path: Path) -> None:
    with closing(SqliteDatabase(tmp_path)) as database, database.reading() as reader:
        assert isinstance(reader, sqlite3.Connection)
        statements: list[str] = []
        reader.set_trace_callback(statements.append)
        class_rows.ids_with_exemplar(reader, "g", "0" * 64)
        reader.set_trace_callback(None)
        first, second, *_ = plan(reader, statements[0])
    assert first.startswith("SEARCH exemplars USING")
    assert first.endswith("(sha256=?)")
    assert second == "SEARCH classes USING INTEGER PRIMARY KEY (rowid=?)"


def plan(connection: sqlite3.Connection, statement: str) -> list[str]:
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
