"""The `exemplar` command where neither Keras nor any backend is installed, as with `exemplar[evaluate]` alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from demo.server_process import clean_environment

_CODE = """
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("keras", "tensorflow", "jax", "torch"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NotInstalled())
from exemplar.cli import main
main()
"""


def exemplar_without_keras(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-c", _CODE, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env=clean_environment(COLUMNS="120"),
        cwd=cwd,
    )
