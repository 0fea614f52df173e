"""The server, which dies at a moment that it is told: `python -m tests.durability.dying_server serve ...`.

`DIES_AT` names a file. Once it is there, and says `MOMENT N`, the process kills itself when it comes to that moment
for the N-th time.
"""

from __future__ import annotations

import functools
import os
import signal
from pathlib import Path
from typing import Any

from exemplar.cli import main
from exemplar_server.store import opening
from exemplar_server.store.index import approximate_kind
from exemplar_server.store.index.gallery_index import GalleryIndex
from exemplar_server.store.indexed_store import IndexedStore
from exemplar_server.store.truth.high_water_mark import HighWaterMark
from exemplar_server.store.truth.sqlite import SqliteDatabase
from exemplar_server.writer import Writer

# What is about to be done then.
MOMENTS: dict[str, tuple[type, str]] = {
    "before-the-commit": (SqliteDatabase, "_count_change"),
    "after-the-commit": (HighWaterMark, "write"),
    "before-the-index": (IndexedStore, "_committed"),
    "before-the-answer": (Writer, "_end"),
    "before-an-index-is-saved": (GalleryIndex, "_save"),
    "before-an-index-is-used": (GalleryIndex, "_swap"),
}


def install(moment: str, owner: type, method: str, told: Path) -> None:
    """Let a method end the process when it is told to."""
    original, come = getattr(owner, method), 0

    @functools.wraps(original)
    def dying(*arguments: Any) -> Any:
        nonlocal come
        if told.exists() and (words := told.read_text().split()) and words[0] == moment:
            come += 1
            if come == int(words[1]):
                os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments)

    setattr(owner, method, dying)


if __name__ == "__main__":
    for name, (owner, method) in MOMENTS.items():
        install(name, owner, method, Path(os.environ["DIES_AT"]))
    # Galleries of a few classes have an index that is built in the background and saved.
    setattr(opening, "ONE_THREAD_PRODUCTS", 1)  # noqa: B010 - the name is imported there
    approximate_kind._FEWEST = approximate_kind._FEWEST_SAMPLED = 4
    main()
