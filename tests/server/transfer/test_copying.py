"""Galleries copied elsewhere: as they were to the last bit, resumed, and never half of one that looks whole."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from exemplar_server.errors import AlreadyExistsError, DataLossError
from exemplar_server.store import GalleryChanges, NewClass, RepeatedRequest
from exemplar_server.store.opening import open_snapshot, open_truth
from exemplar_server.store.records import ClassCopy
from exemplar_server.store.truth.sql_truth import SqlTruth
from exemplar_server.store.truth.sqlite import SqliteDatabase
from exemplar_server.transfer import source as transfer_source
from exemplar_server.transfer.archive import Archive
from exemplar_server.transfer.copying import copy_galleries
from exemplar_server.transfer.source import UNFINISHED, TruthSource
from tests.postgres_server import with_schema
from tests.server.transfer.stocked import REQUEST, back_up, exemplar, load_many, records, stock

KINDS = ["sqlite", "postgresql"]


@pytest.fixture
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str, str], str]:
    """Return how to name a store of a kind that is not there yet."""

    def name(kind: str, folder: str) -> str:
        return f"sqlite:{tmp_path / folder}" if kind == "sqlite" else with_schema(request.getfixturevalue("postgres"))

    return name


@pytest.fixture
def stocked(tmp_path: Path) -> str:
    stock(f"sqlite:{tmp_path / 'stocked'}")
    return f"sqlite:{tmp_path / 'stocked'}"


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer_source, "BATCH_CLASSES", 2)


def migrate(source: str, target: str, only: Sequence[str] = ()) -> list[tuple[str, int, str]]:
    with open_snapshot(source) as snapshot, closing(open_truth(target)) as truth:
        return copied(TruthSource(snapshot, "the source", only), truth)


def restore(archive: Path, target: str, only: Sequence[str] = ()) -> list[tuple[str, int, str]]:
    with closing(Archive(archive, only)) as source, closing(open_truth(target)) as truth:
        return copied(source, truth)


def copied(source: transfer_source.Source, truth: SqlTruth) -> list[tuple[str, int, str]]:
    done, _ = copy_galleries(source, truth, "the target", lambda step, count: None)
    return [(carried.gallery, carried.classes, outcome) for carried, outcome in done]


class Killed(Exception):  # noqa: N818 - no error of the copy's
    pass


class Interrupted(SqlTruth):
    """A truth in which loading ends for good after some steps."""

    steps = 0

    def _step(self) -> None:
        if self.steps == 0:
            raise Killed
        self.steps -= 1

    def load_gallery(self, gallery: object) -> None:
        self._step()
        super().load_gallery(gallery)  # type: ignore[arg-type]

    def load_classes(self, gallery: str, classes: Sequence[ClassCopy]) -> int:
        self._step()
        return super().load_classes(gallery, classes)

    def finish_load(self, gallery: object) -> None:
        self._step()
        super().finish_load(gallery)  # type: ignore[arg-type]


class Forgetful(SqlTruth):
    """A truth that stores a class otherwise than it was given."""

    def load_classes(self, gallery: str, classes: Sequence[ClassCopy]) -> int:
        altered = dataclasses.replace(classes[1], embedding=np.nextafter(classes[1].embedding, np.float32(2)))
        return super().load_classes(gallery, [classes[0], altered, *classes[2:]])


# As it was


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_restored_is_what_there_was(
    kind: str, stocked: str, new_store: Callable[[str, str], str], tmp_path: Path
) -> None:
    archive, target = back_up(stocked, tmp_path / "a.tar"), new_store(kind, "restored")
    expected = [("empty", 0, "copied"), ("plain", 9, "copied"), ("rich", 4, "copied")]
    assert restore(tmp_path / "a.tar", target) == expected
    assert back_up(target, tmp_path / "b.tar") == archive
    for gallery in ("empty", "plain", "rich"):
        assert records(target, gallery) == records(stocked, gallery)
    with closing(open_truth(target)) as truth, pytest.raises(RepeatedRequest) as repeated:
        truth.put_classes("rich", [], REQUEST)
    assert repeated.value.response == b"answered"


def test_galleries_that_went_to_postgresql_and_back_give_the_same_archive(
    stocked: str, new_store: Callable[[str, str], str], tmp_path: Path
) -> None:
    names = [stocked, new_store("postgresql", ""), new_store("sqlite", "back")]
    for source, target in itertools.pairwise(names):
        migrate(source, target)
    archives = [back_up(name, tmp_path / "a.tar") for name in names]
    assert archives[0] == archives[1] == archives[2]


def test_a_copied_gallery_goes_on_with_its_history(stocked: str, new_store: Callable[[str, str], str]) -> None:
    target = new_store("sqlite", "copy")
    migrate(stocked, target)
    with closing(open_truth(target)) as truth:
        before = truth.get_gallery("plain")
        _, revision = truth.put_classes("plain", [NewClass("next", [exemplar(60, b"next")])])
        assert (revision, truth.get_gallery("plain").class_count) == (before.revision + 1, 10)


def test_one_gallery_is_copied_alone_beside_others(stocked: str, new_store: Callable[[str, str], str]) -> None:
    target = new_store("sqlite", "copy")
    with closing(open_truth(target)) as truth:
        truth.create_gallery("rich", "another", 3)
        assert truth.response_to(REQUEST) is None
    assert migrate(stocked, target, ["plain"]) == [("plain", 9, "copied")]
    with closing(open_truth(target)) as truth:
        assert truth.response_to(REQUEST) is None


# Refused


@pytest.mark.parametrize("kind", KINDS)
def test_another_gallery_of_the_same_id_is_refused_before_anything_is_changed(
    kind: str, stocked: str, new_store: Callable[[str, str], str]
) -> None:
    target = new_store(kind, "copy")
    with closing(open_truth(target)) as truth:
        truth.create_gallery("rich", "another", 3)
    with pytest.raises(AlreadyExistsError, match=r"another gallery 'rich' in the target .its display_name, model"):
        migrate(stocked, target)
    with closing(open_truth(target)) as truth:
        assert [gallery.id for gallery in truth.list_galleries()] == ["rich"]
        assert truth.get_gallery("rich").model == "another"


def test_a_gallery_that_is_there_already_is_compared_and_left(
    stocked: str, new_store: Callable[[str, str], str], tmp_path: Path
) -> None:
    target = new_store("sqlite", "copy")
    migrate(stocked, target, ["plain"])
    assert migrate(stocked, target) == [("empty", 0, "copied"), ("plain", 9, "there already"), ("rich", 4, "copied")]
    assert back_up(target, tmp_path / "b.tar") == back_up(stocked, tmp_path / "a.tar")


def test_a_copy_that_is_not_the_same_is_told_by_class_and_field_and_stays_unfinished(
    stocked: str, tmp_path: Path
) -> None:
    with (
        open_snapshot(stocked) as snapshot,
        closing(Forgetful(SqliteDatabase(tmp_path / "copy"))) as truth,
        pytest.raises(DataLossError, match=r"class 'c1' is another in the target: its embedding$"),
    ):
        copied(TruthSource(snapshot, "the source", ["plain"]), truth)
    with closing(open_truth(f"sqlite:{tmp_path / 'copy'}")) as truth:
        assert truth.get_gallery("plain").model == UNFINISHED


# Resumed


@pytest.mark.parametrize("steps", [1, 2, 4, 6, 7, 9])
@pytest.mark.usefixtures("small_batches")
def test_an_interrupted_copy_is_completed_by_the_same_copy(steps: int, stocked: str, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    with open_snapshot(stocked) as snapshot, closing(Interrupted(SqliteDatabase(target))) as truth:
        truth.steps = 2 + steps  # after the empty gallery's two
        with pytest.raises(Killed):
            copied(TruthSource(snapshot, "the source"), truth)
    with closing(open_truth(f"sqlite:{target}")) as truth:
        held = {gallery.id: gallery for gallery in truth.list_galleries()}
        assert held["empty"].model != UNFINISHED
        assert (held["plain"].model == UNFINISHED) == (steps < 7)
        assert held["plain"].class_count == min(9, 2 * (steps - 1))
    outcome = "completed" if steps < 7 else "there already"
    assert migrate(stocked, f"sqlite:{target}")[1] == ("plain", 9, outcome)
    assert back_up(f"sqlite:{target}", tmp_path / "b.tar") == back_up(stocked, tmp_path / "a.tar")


@pytest.mark.usefixtures("small_batches")
def test_what_was_loaded_before_the_source_changed_is_loaded_anew(stocked: str, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    with open_snapshot(stocked) as snapshot, closing(Interrupted(SqliteDatabase(target))) as truth:
        truth.steps = 4
        with pytest.raises(Killed):
            copied(TruthSource(snapshot, "the source", ["plain"]), truth)
    with closing(open_truth(stocked)) as truth:
        truth.put_classes("plain", [NewClass("c1", [exemplar(70, b"c1 anew")])])
        truth.delete_class("plain", "c8")
        truth.update_gallery("plain", GalleryChanges(frozenset({"display_name"}), display_name="later"))
    assert migrate(stocked, f"sqlite:{target}", ["plain"]) == [("plain", 8, "completed")]
    assert back_up(f"sqlite:{target}", tmp_path / "b.tar", ["plain"]) == back_up(
        stocked, tmp_path / "a.tar", ["plain"]
    )


@pytest.mark.usefixtures("small_batches")
def test_pages_are_no_longer_than_their_images_let_them_be(
    stocked: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    load_many(stocked, 40)
    whole = back_up(stocked, tmp_path / "a.tar", ["many"])
    monkeypatch.setattr(transfer_source, "BATCH_BYTES", 1)
    limits = []

    class Watched(SqlTruth):
        def class_copies(self, gallery: str, after: str = "", limit: int = 100) -> list[ClassCopy]:
            limits.append(limit)
            return super().class_copies(gallery, after, limit)

    with closing(Watched(SqliteDatabase(tmp_path / "stocked"))) as truth:
        found = list(TruthSource(truth, "").classes("many"))
    assert [of.id for of in found] == [f"{number:06}" for number in range(40)]
    assert limits[0] == 16
    assert set(limits[1:]) == {1}
    assert len(list(batches_of(found))) == 40
    assert whole != back_up(stocked, tmp_path / "b.tar", ["many"])


def batches_of(found: Sequence[ClassCopy]) -> Iterator[list[ClassCopy]]:
    return transfer_source.batches(found)
