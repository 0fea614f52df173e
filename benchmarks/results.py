"""Where every benchmark puts its figures: a table on screen, and a JSON file that names the machine."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).parent / "results"


def record(name: str, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], figures: Any) -> Path:
    """Print a table and write the figures.

    Args:
        name: of the JSON file.
        title: of the table.
        columns: their headings; the first is text, the others are right-aligned.
        rows: cells as people should read them.
        figures: the same as numbers, anything JSON can hold.
    """
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left")
    for row in rows:
        table.add_row(*row)
    Console(width=140).print(table)
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.json"
    content = {"measured": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine(), "figures": figures}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def read(name: str) -> Any:
    """The figures that were recorded under a name; None where there are none."""
    path = FOLDER / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))["figures"] if path.exists() else None


def machine() -> Mapping[str, str | int]:
    """The machine that the figures were measured on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return {
        "cpu": model,
        "cores": os.cpu_count() or 1,
        "python": platform.python_version(),
        "system": platform.system(),
    }
