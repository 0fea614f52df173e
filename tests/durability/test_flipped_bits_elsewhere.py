"""A damaged bundle, archive or journal is refused, or does what the whole one does."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from exemplar_encoder import BundleError, EncodedImage, load_encoder
from exemplar_indexer.items import Item
from exemplar_indexer.journal import Journal, JournalError
from exemplar_indexer.outcomes import Note, Outcome
from exemplar_server.transfer.archive import Archive
from exemplar_server.transfer.members import ArchiveError
from tests.durability.damage import damaged
from tests.durability.scale import SCALE
from tests.e2e.stubs import png
from tests.server.transfer.stocked import back_up, stock


def test_a_damaged_bundle_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    rng = random.Random(3)
    whole = load_encoder(tiny_bundle, "litert")
    expected = whole.embed(whole.prepare(EncodedImage(png())).pixels[None])
    for number in range(25 * SCALE):
        copy = tmp_path / str(number)
        shutil.copytree(tiny_bundle, copy)
        file = rng.choice(sorted(path for path in copy.rglob("*") if path.is_file()))
        file.write_bytes(damaged(file.read_bytes(), rng))
        try:
            encoder = load_encoder(copy, "litert")
        except BundleError:
            continue
        finally:
            shutil.rmtree(copy)
        assert np.array_equal(encoder.embed(encoder.prepare(EncodedImage(png())).pixels[None]), expected), file


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    stock(f"sqlite:{tmp_path / 'data'}")
    whole = back_up(f"sqlite:{tmp_path / 'data'}", tmp_path / "whole.tar")
    rng, tried = random.Random(4), 0
    for _ in range(100 * SCALE):
        content = damaged(whole, rng)
        if content == whole:  # two pieces that are alike
            continue
        (tmp_path / "tried.tar").write_bytes(content)
        with pytest.raises(ArchiveError):
            Archive(tmp_path / "tried.tar").close()
        tried += 1
    print(f"an archive, damaged {tried:,} times: {tried:,} refused")
    assert tried > 90 * SCALE


def test_a_damaged_journal_is_refused_or_leaves_nothing_out(tmp_path: Path) -> None:
    items = []
    for number in range(60):
        image = tmp_path / f"{number}.png"
        image.write_text(str(number))
        items.append(Item(f"c{number}", str(image), str(image), f"name {number}", {"n": str(number)}))
    warning = Note("warning", "c", "image", "place", "", "BLANK", "blank")
    with Journal(tmp_path / "job") as journal:
        journal.scan(items)
        journal.acknowledge([Outcome(each.class_id, True, [warning]) for each in items[:30]])
    whole = (tmp_path / "job" / "journal.sqlite").read_bytes()
    rng, counts = random.Random(5), Counter[str]()
    for _ in range(100 * SCALE):
        folder = tmp_path / "tried"
        folder.mkdir()
        (folder / "journal.sqlite").write_bytes(damaged(whole, rng))
        try:
            with Journal(folder) as journal:
                journal.scan(items)
                pending = [each for _, each in journal.pending(0, 1000)]
                assert all(each in items for each in pending)
                assert all(each in pending for each in items[30:])
                journal.acknowledge([Outcome(each.class_id, True) for each in pending])
                assert journal.counts().done == len(items)
                list(journal.notes())
            counts["as it was" if len(pending) == 30 else "some done again"] += 1
        except JournalError:
            counts["refused"] += 1
        shutil.rmtree(folder)
    print(f"a journal, damaged {100 * SCALE:,} times:", ", ".join(f"{n:,} {what}" for what, n in counts.items()))
    assert set(counts) == {"as it was", "some done again", "refused"}, counts
