"""One committed state of a truth, whole, for however long it takes to read it.

Others go on changing the truth meanwhile; nothing of that is seen here. For one thread at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from exemplar_server.store.truth import damage_search
from exemplar_server.store.truth.damage_search import Damage
from exemplar_server.store.truth.database import Lend
from exemplar_server.store.truth.sql_reading import SqlReading


class Snapshot(SqlReading):
    """The methods of `Truth` that change nothing, and a look for damage."""

    def __init__(self, lend: Lend, name: str, own_check: str = "") -> None:
        """Read one state.

        Args:
            lend: lends the connection to read with, whose statements all see one state.
            name: what people call the truth by.
            own_check: the statement by which the database checks itself, where it has one; it answers `ok`.
        """
        super().__init__(_Pinned(lend, name))
        self.name = name
        self._own_check = own_check

    def damage(self, gallery: str, advance: Callable[[int], None]) -> Iterator[Damage]:
        """Read every class, exemplar and image of a gallery, and yield what is wrong.

        Args:
            gallery: its id.
            advance: is told how many more classes were read.
        """
        with self._database.reading() as reader:
            yield from damage_search.gallery(reader, gallery, advance)

    def other_damage(self) -> Iterator[Damage]:
        """Look at what belongs to no gallery, and at the database's own order; yield what is wrong."""
        with self._database.reading() as reader:
            yield from damage_search.beside_galleries(reader)
            if self._own_check:
                for (answer,) in reader.execute(self._own_check):
                    if answer != "ok":
                        yield Damage("", "", f"the database: {answer}")


class _Pinned:
    remote = False
    commits: int | None = 0  # it is one state

    def __init__(self, lend: Lend, name: str) -> None:
        self.name = name
        self.reading = self.snapshot = lend
