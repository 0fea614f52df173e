"""The `exemplar` command called in this process: it prints and ends as its own process would, in a tenth of the time.

Help, start-up time and missing packages need the process itself; `tests.e2e.command_line` has it.
"""

from __future__ import annotations

import io
import os
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from unittest import mock

from demo.server_process import clean_environment
from exemplar.cli import main


def run(*arguments: object, answer: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Call the command with arguments, a reply to the question it may ask, and environment variables."""
    words = ["exemplar", *map(str, arguments)]
    out, errors = io.StringIO(), io.StringIO()
    code: object = 0
    with (
        mock.patch("sys.argv", words),
        mock.patch("sys.stdin", io.StringIO(answer)),
        mock.patch.dict(os.environ, clean_environment(COLUMNS="120", **environment), clear=True),
        redirect_stdout(out),
        redirect_stderr(errors),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    assert isinstance(code, int)
    return subprocess.CompletedProcess(words, code, out.getvalue(), errors.getvalue())
