"""A job's memory on disk: what is to be enrolled, what the server has acknowledged, and what went wrong.

Promises: an item is done once, and only once, the server's acknowledgement is committed here; a job killed at any
point goes on from there. An item whose image, region, name or attributes changed since is pending again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, astuple, replace
from pathlib import Path
from typing import Self

from exemplar_indexer.images import ImageUnreadableError, fingerprint
from exemplar_indexer.items import Item, SourceEntry
from exemplar_indexer.outcomes import Counts, Note, Outcome

_FORMAT = "1"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS job (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS item (
  number INTEGER PRIMARY KEY,
  class_id TEXT NOT NULL UNIQUE,
  item TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  scan INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('pending', 'done', 'failed'))
);
CREATE INDEX IF NOT EXISTS item_pending ON item (number) WHERE state = 'pending';
CREATE TABLE IF NOT EXISTS note (
  level TEXT NOT NULL CHECK (level IN ('error', 'warning')),
  class_id TEXT NOT NULL,
  image TEXT NOT NULL,
  place TEXT NOT NULL,
  code TEXT NOT NULL,
  reason TEXT NOT NULL,
  message TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS note_class ON note (class_id);
"""


class JournalError(Exception):
    """A job folder that cannot be used; the message is a sentence."""


class Journal:
    """The journal of one job; a context manager. For one thread."""

    def __init__(self, folder: Path) -> None:
        """Open a job folder's journal, or start one.

        Raises:
            JournalError: Another process works on the job, or the journal is of another version.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = (folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise JournalError(f"another process is working on the job in {folder}") from error
        self.folder = folder
        try:
            self._connect(folder / "journal.sqlite")
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            self.close()
            reason = " ".join(str(error).split())
            raise JournalError(
                f"the journal in {folder} cannot be used ({reason}); remove the folder to begin the job anew"
            ) from error
        if self._setting("format", _FORMAT) != _FORMAT:
            self.close()
            raise JournalError(f"the journal in {folder} was written by another version of the indexer")

    def _connect(self, path: Path) -> None:
        # Autocommit: each transaction below is begun by name.
        self._database = sqlite3.connect(path, isolation_level=None)
        # Entries that a power failure takes with it are enrolled again, which changes nothing; a kill takes none.
        self._database.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + _SCHEMA)
        # A flipped bit in a text makes its item pending again or a note read oddly; anything else is refused here.
        self._database.text_factory = lambda text: text.decode("utf-8", "replace")
        if (found := self._database.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(found)
        with closing(sqlite3.connect(":memory:")) as empty:
            empty.executescript(_SCHEMA)
            if _tables(self._database) != _tables(empty):
                raise sqlite3.DatabaseError("its tables are not those of a journal")

    def close(self) -> None:
        """Close the journal and let other processes have the job."""
        self._database.close()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def copy_from(self, folder: Path) -> None:
        """Take over what another job folder's journal holds, if there is one; that journal stays as it is."""
        other = folder / "journal.sqlite"
        if other.exists():
            source = sqlite3.connect(other)
            source.backup(self._database)
            source.close()

    def claim(self, source: str, gallery: str) -> None:
        """Tie the job to a source and a gallery.

        Raises:
            JournalError: It is tied to others.
        """
        for key, value in (("source", source), ("gallery", gallery)):
            known = self._setting(key, value)
            if known != value:
                raise JournalError(
                    f"the job in {self.folder} is for {key} {known}, not {value}; name another folder with --job"
                )

    def meet_gallery(self, identity: str) -> bool:
        """Note which gallery the server has; return whether the acknowledgements still hold.

        Args:
            identity: A mark that tells a gallery from another of the same id, such as its time of creation.
        """
        if self._setting("gallery_identity", identity) == identity:
            return True
        with self._database:
            self._database.execute("BEGIN")
            self._database.execute("UPDATE job SET value = ? WHERE key = 'gallery_identity'", [identity])
            self._database.execute("UPDATE item SET state = 'pending'")
            self._database.execute("DELETE FROM note WHERE level = 'warning'")
        return False

    def scan(self, entries: Iterable[SourceEntry], *, redo: bool = False) -> Counts:
        """Read the source: new and changed items become pending, failed ones get another try.

        Args:
            entries: The source's entries; drawn once, never held.
            redo: Make every item pending.

        Returns:
            The counts after the scan.
        """
        run = self._database.execute
        run("BEGIN")
        try:
            number = run("SELECT coalesce(max(scan), 0) + 1 FROM item").fetchone()[0]
            run("DELETE FROM note WHERE level = 'error'")
            for entry in entries:
                if isinstance(entry, Item):
                    self._plan(entry, number, redo)
                else:
                    self._note(Note.error(entry))
            # An item that left the source since is no longer this job's; the gallery keeps it.
            gone = "class_id IN (SELECT class_id FROM item WHERE scan < ?)"
            run(f"DELETE FROM note WHERE level = 'warning' AND {gone}", [number])
            run("DELETE FROM item WHERE scan < ?", [number])
        except BaseException:
            run("ROLLBACK")
            raise
        run("COMMIT")
        return self.counts()

    def _plan(self, item: Item, scan: int, redo: bool) -> None:
        row = self._database.execute(
            "SELECT scan, item, fingerprint, state FROM item WHERE class_id = ?", [item.class_id]
        ).fetchone()
        if row and row[0] == scan:
            message = (
                f"class id {item.class_id} is given twice, at {_read(row[1]).place} and at {item.place}; "
                "the first counts"
            )
            self._note(Note.error(item.problem("ID_DUPLICATE", message)))
            return
        try:
            file = fingerprint(item.image)
        except ImageUnreadableError as error:
            self._note(Note.error(item.problem("IMAGE_UNREADABLE", str(error))))
            return
        # Its place may move in the source: that changes nothing of the item.
        current = hashlib.sha256((file + _written(replace(item, place=""))).encode()).hexdigest()
        done = row and row[3] == "done" and row[2] == current and not redo
        if not done:
            self._database.execute("DELETE FROM note WHERE class_id = ? AND level = 'warning'", [item.class_id])
        self._database.execute(
            "INSERT OR REPLACE INTO item (class_id, item, fingerprint, scan, state) VALUES (?, ?, ?, ?, ?)",
            [item.class_id, _written(item), current, scan, "done" if done else "pending"],
        )

    def pending(self, after: int, limit: int) -> list[tuple[int, Item]]:
        """Return up to `limit` pending items, each with its number, from the one past number `after` on."""
        rows = self._database.execute(
            "SELECT number, item FROM item WHERE state = 'pending' AND number > ? ORDER BY number LIMIT ?",
            [after, limit],
        )
        return [(number, _read(text)) for number, text in rows]

    def warned(self, reasons: Collection[str], after: int, limit: int) -> list[tuple[int, Item]]:
        """Return items that are done and were warned of for one of some reasons; otherwise as `pending`."""
        marks = ", ".join("?" * len(reasons))
        rows = self._database.execute(
            "SELECT number, item FROM item WHERE state = 'done' AND number > ? AND EXISTS (SELECT 1 FROM note WHERE "
            f"note.class_id = item.class_id AND level = 'warning' AND reason IN ({marks})) ORDER BY number LIMIT ?",
            [after, *reasons, limit],
        )
        return [(number, _read(text)) for number, text in rows]

    def warn(self, class_id: str, warnings: Iterable[Note]) -> None:
        """Commit the warnings about an item, instead of those there were."""
        with self._database:
            self._database.execute("BEGIN")
            self._database.execute("DELETE FROM note WHERE class_id = ? AND level = 'warning'", [class_id])
            for note in warnings:
                self._note(note)

    def acknowledge(self, outcomes: Iterable[Outcome]) -> None:
        """Commit what became of a batch's items."""
        with self._database:
            self._database.execute("BEGIN")
            for outcome in outcomes:
                state = "done" if outcome.done else "failed"
                self._database.execute("UPDATE item SET state = ? WHERE class_id = ?", [state, outcome.class_id])
                for note in outcome.notes:
                    self._note(note)

    def counts(self) -> Counts:
        """Count the job's items, problems and warnings."""
        states = dict(self._database.execute("SELECT state, count(*) FROM item GROUP BY state").fetchall())
        levels = dict(self._database.execute("SELECT level, count(*) FROM note GROUP BY level").fetchall())
        done, failed, pending = (states.get(state, 0) for state in ("done", "failed", "pending"))
        # A failed item has exactly one error; the other errors are of entries that never became items.
        return Counts(done, failed, pending, levels.get("error", 0) - failed, levels.get("warning", 0))

    def notes(self) -> Iterator[Note]:
        """Yield every error, then every warning."""
        rows = self._database.execute(
            "SELECT level, class_id, image, place, code, reason, message FROM note ORDER BY level, rowid"
        )
        return (Note(*row) for row in rows)

    def _note(self, note: Note) -> None:
        # A problem may be that a text is none; what cannot be stored of it is escaped.
        texts = [str(text).encode("utf-8", "backslashreplace").decode() for text in astuple(note)]
        self._database.execute("INSERT INTO note VALUES (?, ?, ?, ?, ?, ?, ?)", texts)

    def _setting(self, key: str, value: str) -> str:
        """Return a setting, which is `value` when it has never been set."""
        self._database.execute("INSERT OR IGNORE INTO job VALUES (?, ?)", [key, value])
        return str(self._database.execute("SELECT value FROM job WHERE key = ?", [key]).fetchone()[0])


def _tables(database: sqlite3.Connection) -> list[str]:
    return [sql for (sql,) in database.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")]


def _written(item: Item) -> str:
    return json.dumps(asdict(item), sort_keys=True)


def _read(text: str) -> Item:
    return Item(**json.loads(text))
