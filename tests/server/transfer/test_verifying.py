"""A store verified: each kind of damage is named, all of it in one look, and an intact store has none."""

from __future__ import annotations

import dataclasses
import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from exemplar_server.errors import NotFoundError
from exemplar_server.store.opening import open_snapshot, open_truth
from exemplar_server.transfer.source import UNFINISHED
from exemplar_server.transfer.verifying import Verified, verify
from tests.server.transfer.stocked import DIMENSION, stock

OF_C3 = "WHERE class = (SELECT row FROM classes WHERE id = 'c3')"

DAMAGE = {
    "UPDATE classes SET display_name = 'x' WHERE id = 'c3'": ("c3", "its row does not match its checksum"),
    "UPDATE classes SET embedding = x'00' WHERE id = 'c3'": ("c3", "its row does not match its checksum"),
    f"UPDATE exemplars SET image = x'00' {OF_C3}": ("c3", "its image does not match its SHA-256"),
    f"UPDATE exemplars SET width = 9 {OF_C3}": ("c3", "its row does not match its checksum"),
    f"DELETE FROM exemplars {OF_C3}": ("c3", "it has no exemplar"),
    "DELETE FROM classes WHERE id = 'c3'": ("", "it has 8 classes where 9 were stored"),
    "UPDATE galleries SET revision = 99 WHERE id = 'plain'": ("", "the gallery's own row does not match"),
}


def damage(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / "exemplar.db")) as database:
        for statement in statements:
            assert database.execute(statement).rowcount == 1
        database.commit()


def verified(store: str, *only: str) -> Verified:
    with open_snapshot(store) as snapshot:
        return verify(snapshot, only, lambda count: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    stock(f"sqlite:{tmp_path}")
    return tmp_path


def test_an_intact_store_has_no_damage_while_it_is_in_use(folder: Path) -> None:
    with closing(open_truth(f"sqlite:{folder}")):
        found = verified(f"sqlite:{folder}")
    assert found.galleries == [("empty", 0), ("plain", 9), ("rich", 4)]
    assert found.damage == []


def test_a_store_on_postgresql_is_verified_alike(postgres_url: str) -> None:
    stock(postgres_url)
    assert verified(postgres_url) == Verified([("empty", 0), ("plain", 9), ("rich", 4)], [])
    with psycopg.connect(postgres_url) as database:
        database.execute(f"UPDATE exemplars SET image = '' {OF_C3}")
    (found,) = verified(postgres_url).damage
    assert (found.gallery, found.class_id) == ("plain", "c3")


@pytest.mark.parametrize("statement", DAMAGE)
def test_damage_is_named(statement: str, folder: Path) -> None:
    damage(folder, statement)
    class_id, problem = DAMAGE[statement]
    found = [(each.gallery, each.class_id) for each in verified(f"sqlite:{folder}").damage if problem in each.problem]
    assert found == [("plain", class_id)]


def test_all_that_is_damaged_is_named_in_one_look(folder: Path) -> None:
    damage(folder, "UPDATE classes SET created = 1 WHERE id = 'c0'", "UPDATE classes SET created = 1 WHERE id = 'c8'")
    damage(folder, "UPDATE classes SET created = 1 WHERE id = 'A'", "UPDATE requests SET response = x'00'")
    found = verified(f"sqlite:{folder}").damage
    assert [(each.gallery, each.class_id) for each in found] == [
        ("plain", "c0"),
        ("plain", "c8"),
        ("rich", "A"),
        ("", ""),
    ]
    assert found[-1].problem == "the response kept for request r-1 does not match its checksum"
    assert verified(f"sqlite:{folder}", "empty") == Verified([("empty", 0)], [])


def test_an_embedding_that_is_not_that_of_its_exemplars_is_named_though_its_checksum_matches(folder: Path) -> None:
    with closing(open_truth(f"sqlite:{folder}")) as truth:
        (other, *_) = truth.class_copies("plain")
        truth.load_gallery(dataclasses.replace(truth.get_gallery("plain"), id="mixed"))
        truth.load_classes("mixed", [dataclasses.replace(other, embedding=other.embedding + 1)])
        truth.finish_load(dataclasses.replace(truth.get_gallery("mixed"), revision=9))
    (found,) = verified(f"sqlite:{folder}").damage
    assert (found.gallery, found.problem) == ("mixed", "its embedding is not that of its exemplars")


def test_rows_that_belong_to_nothing_are_told(folder: Path) -> None:
    damage(folder, f"UPDATE exemplars SET class = 1000 {OF_C3}")
    problems = [each.problem for each in verified(f"sqlite:{folder}").damage]
    assert problems == ["it has no exemplar", "the database holds exemplars of no class (1)"]


def test_a_page_that_cannot_be_read_is_told_and_the_rest_is_looked_at(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "exemplar.db")) as database:
        size = database.execute("PRAGMA page_size").fetchone()[0]
        (root,) = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'exemplars'").fetchone()
    with open(folder / "exemplar.db", "r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)
    found = verified(f"sqlite:{folder}").damage
    assert {each.gallery for each in found} == {"", "plain", "rich"}
    assert all("malformed" in each.problem or "database" in each.problem for each in found)


def test_a_gallery_that_was_not_loaded_to_its_end_is_told(folder: Path) -> None:
    with closing(open_truth(f"sqlite:{folder}")) as truth:
        truth.create_gallery("half", UNFINISHED, DIMENSION)
    (found,) = verified(f"sqlite:{folder}").damage
    assert (found.gallery, found.problem[:35]) == ("half", "it was not loaded to its end; run t")


def test_a_gallery_that_is_not_there_is_not_verified_as_intact(folder: Path) -> None:
    with pytest.raises(NotFoundError, match="no gallery 'other'"):
        verified(f"sqlite:{folder}", "other")
