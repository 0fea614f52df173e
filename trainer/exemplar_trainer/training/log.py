"""A run's log, `training.jsonl`: one JSON object a line, with step, loss, learning rate and images a second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LOG = "training.jsonl"


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return a log's records; a line that a crash cut short is left out."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records


def forget_records_after(path: Path, step: int) -> None:
    """Drop the records of steps after the checkpoint, which are done again, and recorded again."""
    kept = [record for record in read_log(path) if record["step"] <= step]
    partial = path.with_suffix(".partial")
    partial.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
    partial.replace(path)
