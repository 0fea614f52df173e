"""The outcome of a job for people and programs: a report with one entry an error or warning, and a summary."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from exemplar.images import SUFFIXES
from exemplar_indexer.folder import LeftOut
from exemplar_indexer.outcomes import Note

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True)
class Summary:
    """How a job ended.

    Attributes:
        source: The folder or manifest that was read.
        gallery: Where it went.
        complete: Whether every entry of the source has had its turn.
        total: Entries of the source.
        done: Classes that the server has acknowledged, in this run and before, whatever became of them since.
        done_before: Those of them that an earlier run had brought in.
        failed: Items that the server refused or that could not be read.
        problems: Source entries that could not become items: rows without an id, ids given twice, missing files.
        pending: Items that have not had their turn.
        warnings: Warnings about classes that are in.
        seconds: How long this run took.
        images_per_second: Rate of this run.
        report: The file with the entries.
        left_out: What of a folder was no part of the source.
    """

    source: str
    gallery: str
    complete: bool
    total: int
    done: int
    done_before: int
    failed: int
    problems: int
    pending: int
    warnings: int
    seconds: float
    images_per_second: float
    report: str
    left_out: LeftOut


def write_report(path: Path, notes: Iterable[Note]) -> None:
    """Write the entries, as CSV when the name ends in `.csv`, else as JSON lines."""
    _replace(path, lambda file: (_csv if path.suffix.lower() == ".csv" else _jsonl)(file, notes))


def write_summary(path: Path, summary: Summary) -> None:
    """Write the summary as one JSON object."""
    _replace(path, lambda file: file.write(summary_text(summary)))


def left_out_sentences(source: str, left_out: LeftOut) -> list[str]:
    """Return what people should know of what was left out of a folder, in sentences."""
    sentences = []
    if left_out.count:
        sentences.append(f"{left_out.count:,} left out: {_first(left_out.such_as, left_out.count)}")
    if left_out.others:
        names = _first(left_out.other_names, left_out.others)
        sentences.append(f"{left_out.others:,} other files in {source} are no images by their names: {names}")
    return sentences


def no_images(source: str, left_out: LeftOut) -> str:
    """Return the sentence on a folder without a single image, with what to do."""
    sentences = "; ".join([f"{source} holds no images", *left_out_sentences(source, left_out)])
    return f"{sentences}. An image's name ends in {', '.join(sorted(SUFFIXES))}: convert others, or name them so"


def _first(names: Sequence[str], count: int) -> str:
    return ", ".join(names) + (f" and {count - len(names):,} more" if count > len(names) else "")


def summary_text(summary: DataclassInstance) -> str:
    """Return a summary as one JSON object."""
    return json.dumps(asdict(summary), indent=2) + "\n"


def _csv(file: TextIO, notes: Iterable[Note]) -> None:
    writer = csv.DictWriter(file, [field.name for field in fields(Note)])
    writer.writeheader()
    writer.writerows(asdict(note) for note in notes)


def _jsonl(file: TextIO, notes: Iterable[Note]) -> None:
    for note in notes:
        file.write(json.dumps(asdict(note), ensure_ascii=False) + "\n")


def _replace(path: Path, write: Callable[[TextIO], object]) -> None:
    # A reader sees the old file or the new one, never half of one.
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        write(file)
    partial.replace(path)
