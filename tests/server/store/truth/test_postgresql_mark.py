"""A server tells when PostgreSQL lacks changes that it has acknowledged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from exemplar_server.errors import StartError, UnavailableError
from exemplar_server.store import GalleryStore, open_store
from tests.contract.stores import DIMENSION, MODEL, new_class

TABLES = ("galleries", "classes", "exemplars", "changes", "servers")


@contextmanager
def server(url: str, folder: Path, accept_loss: bool = False) -> Iterator[GalleryStore]:
    with closing(open_store(url, "flat", folder, accept_loss=accept_loss)) as store:
        yield store


class Copies:
    """Copies of a database's rows: how a backup, or a standby that is behind, holds them."""

    def __init__(self, url: str) -> None:
        self._url = url

    def take(self) -> None:
        self._run(*(f"CREATE TABLE copy_of_{table} AS TABLE {table}" for table in TABLES))

    def put_back(self) -> None:
        self._run(
            f"TRUNCATE {', '.join(TABLES)} CASCADE",
            *(f"INSERT INTO {table} SELECT * FROM copy_of_{table}" for table in TABLES),
        )

    def _run(self, *statements: str) -> None:
        with psycopg.connect(self._url) as connection:
            for statement in statements:
                connection.execute(statement.encode())


@pytest.fixture
def copies(postgres_url: str, tmp_path: Path) -> Copies:
    """Copy a database when a server has made a gallery with two classes, of the five that it enrolls."""
    copies = Copies(postgres_url)
    with server(postgres_url, tmp_path) as store:
        store.create_gallery("g", MODEL, DIMENSION)
        for number in range(2):
            store.put_classes("g", [new_class(f"c{number}", number)])
        copies.take()
        for number in range(2, 5):
            store.put_classes("g", [new_class(f"c{number}", number)])
    return copies


def test_a_whole_database_is_served_by_whichever_server(postgres_url: str, copies: Copies, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "another", tmp_path):
        with server(postgres_url, folder) as store:
            assert store.get_gallery("g").class_count == 5
            store.put_classes("g", [new_class("c1", 9)])


def test_an_older_copy_is_refused_and_left_as_it_is(postgres_url: str, copies: Copies, tmp_path: Path) -> None:
    copies.put_back()
    for _ in range(2):
        with pytest.raises(
            StartError, match=r"lacks 3 changes of the 6 that this server acknowledged.*--accept-loss"
        ):
            open_store(postgres_url, "flat", tmp_path)


def test_another_database_is_refused(postgres_url: str, copies: Copies, tmp_path: Path) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("TRUNCATE galleries, servers CASCADE")
    with pytest.raises(StartError, match=r"lacks 6 changes .* give another --data-dir"):
        open_store(postgres_url, "flat", tmp_path)


def test_a_loss_that_is_accepted_is_not_asked_about_again(postgres_url: str, copies: Copies, tmp_path: Path) -> None:
    copies.put_back()
    with server(postgres_url, tmp_path, accept_loss=True) as store:
        assert store.get_gallery("g").class_count == 2
        store.put_classes("g", [new_class("new", 7)])
    with server(postgres_url, tmp_path) as store:
        assert store.get_gallery("g").class_count == 3


def test_a_server_that_runs_writes_nothing_to_an_older_copy(
    postgres_url: str, copies: Copies, tmp_path: Path
) -> None:
    with server(postgres_url, tmp_path) as store:
        store.put_classes("g", [new_class("c1", 9)])
        copies.put_back()
        for _ in range(2):
            with pytest.raises(UnavailableError, match="lacks 4 changes that this server acknowledged") as refused:
                store.put_classes("g", [new_class("new", 7)])
            assert refused.value.reason == "STORE_REPLACED"
        assert [each.id for each in store.list_classes("g")] == ["c0", "c1"]


def test_a_server_that_acknowledged_nothing_is_served_by_any_database(
    postgres_url: str, copies: Copies, tmp_path: Path
) -> None:
    copies.put_back()
    with server(postgres_url, tmp_path / "another") as store:
        assert store.get_gallery("g").class_count == 2


def test_a_mark_that_is_damaged_is_told(postgres_url: str, copies: Copies, tmp_path: Path) -> None:
    (tmp_path / "acknowledged.mark").write_bytes(b"\0" * 1024)
    with pytest.raises(StartError, match=r"acknowledged\.mark.*is damaged"):
        open_store(postgres_url, "flat", tmp_path)
    with server(postgres_url, tmp_path, accept_loss=True) as store:
        assert store.get_gallery("g").class_count == 5
