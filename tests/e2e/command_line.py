"""The installed `exemplar` command as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EXEMPLAR = str(Path(sys.executable).with_name("exemplar"))


def environment() -> dict[str, str]:
    """The environment without settings of a developer's own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("EXEMPLAR_")}
    return {**clean, "COLUMNS": "120"}


def exemplar(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [EXEMPLAR, *map(str, arguments)], capture_output=True, text=True, timeout=120, env=environment(), cwd=cwd
    )
