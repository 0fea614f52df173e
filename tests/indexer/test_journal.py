"""The journal forgets nothing it was told, and notices what changed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from exemplar_indexer.items import Item, Problem
from exemplar_indexer.journal import Journal, JournalError
from exemplar_indexer.outcomes import Note, Outcome


def item(folder: Path, class_id: str, content: str = "x") -> Item:
    image = folder / f"{class_id}.png"
    if not image.exists() or image.read_text() != content:
        image.write_text(content)
    return Item(class_id, str(image), str(image))


def pending(journal: Journal) -> list[str]:
    return [each.class_id for _, each in journal.pending(0, 1000)]


def test_what_was_acknowledged_is_not_pending_after_a_restart(tmp_path: Path) -> None:
    items = [item(tmp_path, name) for name in "abc"]
    with Journal(tmp_path / "job") as journal:
        journal.scan(items)
        journal.acknowledge([Outcome("a", True), Outcome("b", True)])
    with Journal(tmp_path / "job") as journal:
        counts = journal.scan(items)
        assert pending(journal) == ["c"]
        assert (counts.done, counts.pending, counts.total) == (2, 1, 3)


def test_an_item_that_changed_in_anything_but_its_place_is_pending_again(tmp_path: Path) -> None:
    first = {name: item(tmp_path, name) for name in "abcdef"}
    changed = {
        "b": replace(first["b"], display_name="B"),
        "c": replace(first["c"], attributes={"color": "red"}),
        "d": replace(first["d"], region="0,0,8,8"),
        "e": replace(first["e"], place="elsewhere:7"),
    }
    with Journal(tmp_path / "job") as journal:
        journal.scan(first.values())
        journal.acknowledge([Outcome(name, True) for name in first])
        item(tmp_path, "a", "another picture")
        journal.scan({**first, **changed}.values())
        assert set(pending(journal)) == {"a", "b", "c", "d"}
        assert all(each == {**first, **changed}[each.class_id] for _, each in journal.pending(0, 9))


def test_an_item_comes_back_from_the_journal_as_it_went_in(tmp_path: Path) -> None:
    image = item(tmp_path, "a").image
    whole = Item("ä \u3000\u00a0", image, "list.csv:7", "Ä", {"color": "rot", "größe": "1"}, "10%,0%,50%,100%")
    with Journal(tmp_path / "job") as journal:
        journal.scan([whole])
    with Journal(tmp_path / "job") as journal:
        assert [each for _, each in journal.pending(0, 9)] == [whole]


def test_a_failed_item_gets_another_try_and_its_error_goes(tmp_path: Path) -> None:
    with Journal(tmp_path / "job") as journal:
        journal.scan([item(tmp_path, "a")])
        note = Note("error", "a", "a.png", "a.png", "INVALID_ARGUMENT", "IMAGE_EMPTY", "empty")
        journal.acknowledge([Outcome("a", False, [note])])
        assert (journal.counts().failed, journal.counts().problems) == (1, 0)
        assert list(journal.notes()) == [note]
        counts = journal.scan([item(tmp_path, "a")])
        assert (counts.failed, counts.pending) == (0, 1)
        assert not list(journal.notes())


def test_a_warning_stays_while_its_class_is_in_and_goes_when_it_is_redone(tmp_path: Path) -> None:
    warning = Note("warning", "a", "a.png", "a.png", "", "BLANK", "blank")
    with Journal(tmp_path / "job") as journal:
        journal.scan([item(tmp_path, "a")])
        journal.acknowledge([Outcome("a", True, [warning])])
        assert journal.scan([item(tmp_path, "a")]).warnings == 1
        assert journal.scan([item(tmp_path, "a", "other")]).warnings == 0


def test_an_id_given_twice_is_reported_with_both_places(tmp_path: Path) -> None:
    first, second = item(tmp_path, "a"), Item("a", str(tmp_path / "a.png"), "elsewhere:7")
    with Journal(tmp_path / "job") as journal:
        for _ in range(2):  # and again in a later run, no more often
            counts = journal.scan([first, second])
            assert (counts.total, counts.pending, counts.problems) == (2, 1, 1)
            (note,) = journal.notes()
            assert first.place in note.message
            assert "elsewhere:7" in note.message


def test_a_missing_image_and_a_bad_row_are_problems(tmp_path: Path) -> None:
    absent = Item("a", str(tmp_path / "gone.png"), "m.csv:2")
    with Journal(tmp_path / "job") as journal:
        counts = journal.scan([absent, Problem("m.csv:3", "ROW_INVALID", "the row has no id")])
        assert (counts.problems, counts.pending) == (2, 0)
        assert [note.reason for note in journal.notes()] == ["IMAGE_UNREADABLE", "ROW_INVALID"]


def test_an_image_that_vanished_after_it_was_enrolled_is_reported(tmp_path: Path) -> None:
    wanted = item(tmp_path, "a")
    with Journal(tmp_path / "job") as journal:
        journal.scan([wanted])
        journal.acknowledge([Outcome("a", True)])
        Path(wanted.image).unlink()
        assert journal.scan([wanted]).problems == 1
        assert [note.reason for note in journal.notes()] == ["IMAGE_UNREADABLE"]


def test_what_left_the_source_is_no_longer_counted(tmp_path: Path) -> None:
    with Journal(tmp_path / "job") as journal:
        journal.scan([item(tmp_path, "a"), item(tmp_path, "b")])
        journal.acknowledge([Outcome("a", True)])
        assert journal.scan([item(tmp_path, "b")]).total == 1


def test_a_source_that_fails_half_way_leaves_the_journal_as_it_was(tmp_path: Path) -> None:
    def broken() -> Iterator[Item]:
        yield item(tmp_path, "z")
        raise RuntimeError

    with Journal(tmp_path / "job") as journal:
        journal.scan([item(tmp_path, "a")])
        with pytest.raises(RuntimeError):
            journal.scan(broken())
        assert pending(journal) == ["a"]


def test_a_gallery_made_anew_makes_everything_pending(tmp_path: Path) -> None:
    with Journal(tmp_path / "job") as journal:
        journal.scan([item(tmp_path, "a")])
        journal.acknowledge([Outcome("a", True)])
        assert journal.meet_gallery("made on Monday")
        assert pending(journal) == []
        assert not journal.meet_gallery("made on Tuesday")
        assert pending(journal) == ["a"]


def test_a_job_is_tied_to_its_source_and_gallery(tmp_path: Path) -> None:
    with Journal(tmp_path / "job") as journal:
        journal.claim("pictures", "stamps")
        with pytest.raises(JournalError, match="is for gallery stamps, not coins"):
            journal.claim("pictures", "coins")
        with pytest.raises(JournalError, match="is for source pictures, not others"):
            journal.claim("others", "stamps")


@pytest.mark.process
def test_a_second_process_is_refused_the_job(tmp_path: Path) -> None:
    code = f"from pathlib import Path; from exemplar_indexer.journal import Journal; Journal(Path({str(tmp_path)!r}))"
    with Journal(tmp_path):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "another process is working on the job" in done.stderr


def test_a_damaged_journal_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(JournalError, match="cannot be used"):
        Journal(tmp_path)
