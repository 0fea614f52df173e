"""Keeps notes of native code, such as `INFO: Created TensorFlow Lite XNNPACK delegate for CPU.`, off standard error.

LiteRT has no setting for them, so they are caught where they arrive, at the file descriptor.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_NOTE = b"INFO: "


@contextmanager
def without_native_notes(note: bytes = _NOTE) -> Iterator[None]:
    """Set standard error aside for the block, and pass on afterwards what is no such note: no line with `note`."""
    if sys.stderr is None:  # started without one
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            written.seek(0)
            for line in written:
                if note not in line:
                    os.write(kept, line)
            os.close(kept)
