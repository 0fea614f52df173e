"""As many threads and processes are started as a container may use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from exemplar_encoder.processors import processors


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "100000 100000"}, 1),
        ({"cpu.max": "6400000 100000"}, None),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({}, None),
    ],
)
def test_no_more_than_the_container_is_given(tmp_path: Path, files: dict[str, str], expected: int | None) -> None:
    (tmp_path / "cpu").mkdir()
    for name, content in files.items():
        (tmp_path / name).write_text(content + "\n")
    bound = len(os.sched_getaffinity(0))
    assert processors(tmp_path) == (bound if expected is None else min(bound, expected))


@pytest.mark.process
def test_no_more_than_the_process_is_bound_to() -> None:
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
    code += "from exemplar_encoder.processors import processors; print(processors())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"
