"""A picture with a pipe in its place: a job that reads it waits there until somebody writes to it or kills it."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


class HeldUp:
    """See the module; `release` puts the picture back."""

    def __init__(self, picture: Path) -> None:
        self.picture = picture
        self.content = picture.read_bytes()
        picture.unlink()
        os.mkfifo(picture)

    def release(self) -> None:
        self.picture.unlink()
        self.picture.write_bytes(self.content)

    def wait_for_reader(self, job: subprocess.Popen[Any]) -> int:
        """Open the pipe once a process of the job has come to read from it; return the descriptor."""
        opened: list[int] = []

        def is_read() -> bool:
            try:
                opened.append(os.open(self.picture, os.O_WRONLY | os.O_NONBLOCK))
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
            return bool(opened)

        wait_until(is_read, job)
        return opened[0]


def wait_until(true: Callable[[], object], job: subprocess.Popen[Any] | None = None) -> None:
    """Wait for something that a job does, or has done to it."""
    while not true():
        if job is not None and job.poll() is not None:
            pytest.fail(f"the job ended with {job.returncode}: {job.communicate()}")
        time.sleep(0.02)
