"""The installed `exemplar` command as a process of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from demo.server_process import EXEMPLAR, clean_environment


def exemplar(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [EXEMPLAR, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env=clean_environment(COLUMNS="120"),
        cwd=cwd,
    )
