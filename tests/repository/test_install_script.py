"""A Python that cannot be used gets a sentence, before anything is made."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

SCRIPT = Path(__file__).parents[2] / "requirements/install.sh"


def install(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "requirements").mkdir(exist_ok=True)
    shutil.copy(SCRIPT, folder / "requirements/install.sh")
    (folder / "requirements/dev.txt").write_text("nothing-of-this-name==1.0 --hash=sha256:" + "0" * 64 + "\n")
    return subprocess.run(
        ["sh", "requirements/install.sh"],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def fake_python(folder: Path, version: str) -> Path:
    """Return a program that runs Python code as if it were of another version."""
    major, minor = version.split(".")
    path = folder / "python"
    path.write_text(
        "#!/usr/bin/env python3\n"
        "import sys\n"
        f"sys.version_info = ({major}, {minor}, 0, 'final', 0)\n"
        "exec(sys.argv[2])\n"
    )
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("version", ["3.10", "3.14"])
def test_a_python_too_old_or_too_new_is_named_with_what_is_needed(tmp_path: Path, version: str) -> None:
    done = install(tmp_path, PYTHON=str(fake_python(tmp_path, version)))
    assert done.returncode == 1
    assert f"is Python {version}.0, but 3.11, 3.12 or 3.13 is needed" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_a_python_that_does_not_exist_is_named(tmp_path: Path) -> None:
    done = install(tmp_path, PYTHON="/nowhere/python")
    assert done.returncode == 1
    assert "PYTHON=/nowhere/python does not run" in done.stderr


def test_requirements_that_cannot_be_had_leave_nothing_behind_and_a_sentence(tmp_path: Path) -> None:
    done = install(tmp_path, PIP_NO_INDEX="1", PIP_FIND_LINKS="")
    assert done.returncode == 1
    assert "the requirements could not be installed; is the package index reachable from here?" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / ".venv").exists()
