"""How commands print: aligned tables for people, one JSON document for programs, and errors as one line on stderr."""

from __future__ import annotations

import base64
import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from exemplar import ExemplarError, Hint

VERDICT_STYLES = {"MATCH": "bold green", "AMBIGUOUS": "bold yellow", "UNKNOWN": "bold red"}


def plain(value: Any) -> Any:
    """Turn results into values of JSON; keys are the fields' names, times ISO 8601, bytes Base64."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, ExemplarError):
        return {name: plain(getattr(value, name)) for name in ("code", "reason", "message", "metadata")}
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return value


def print_json(document: Any) -> None:
    """Print one JSON document; what the output's encoding lacks is escaped as JSON does."""
    escaped = not (sys.stdout.encoding or "").lower().startswith("utf")
    sys.stdout.write(json.dumps(plain(document), indent=2, ensure_ascii=escaped) + "\n")


def console() -> Console:
    """Return where tables go; output to a pipe is not cut to a terminal's width."""
    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=1000)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]], right: Sequence[str] = ()) -> None:
    """Print a table; the columns named in `right` are aligned to the right. Cells are text, never markup."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    console().print(table)


def print_facts(facts: Mapping[str, str]) -> None:
    """Print names and values, one pair a line, however wide the terminal: an id can be copied from it."""
    width = max(map(len, facts))
    for name, value in facts.items():
        line = Text.assemble((name.ljust(width), "dim"), f"  {value}")
        line.rstrip()
        console().print(line, soft_wrap=True)


def print_error(sentence: str) -> None:
    """Print an error as every command does: `exemplar: ` and a sentence, on one line of stderr."""
    to = Console(stderr=True, highlight=False, soft_wrap=True)
    to.print(Text.assemble(("exemplar: ", "bold red"), sentence))


def print_line(line: str | Text) -> None:
    """Print a line of text, never read as markup."""
    console().print(line, markup=False)


def print_hints(hints: Iterable[Hint]) -> None:
    """Print each hint on a line of its own."""
    for hint in hints:
        print_line(Text.assemble((f"{hint.kind} ", "bold yellow"), hint.message))


def percent(share: float) -> str:
    """Format a share, with the digits that small rates need."""
    return f"{100 * share:.1f} %" if share >= 0.01 or share == 0 else f"{100 * share:.2g} %"


def moment(time: datetime) -> str:
    """Format a time in the reader's own zone, to the minute."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M")


def named(class_id: str, display_name: str) -> str:
    """Format a class by its id and, where it has one, its name."""
    return f"{class_id} ({display_name})" if display_name and display_name != class_id else class_id


def attributes(entries: Mapping[str, str]) -> str:
    """Format attributes on one line."""
    return ", ".join(f"{key}={value}" for key, value in sorted(entries.items()))
