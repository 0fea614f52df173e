"""Numbered SQL files that bring a database to this program's format, each to be run in one transaction.

The numbers are the version of the format of one kind of database; the first file of a kind makes its tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

from exemplar_server.errors import StartError


@dataclass(frozen=True, slots=True)
class Migration:
    """A step to `version`."""

    version: int
    sql: str


def pending(kind: str, version: int) -> list[Migration] | None:
    """Return the steps that a database of `version` lacks, 0 being an empty one; None where it is another program's.

    Args:
        kind: `sqlite` or `postgresql`.
        version: the database's.
    """
    steps = _all(kind)
    if version != 0 and not steps[0].version <= version <= steps[-1].version:
        return None
    return [step for step in steps if step.version > version]


def check_format(name: str, kind: str, version: int) -> None:
    """Refuse a database that is to be read as it is, and is not of this program's format. Raises `StartError`."""
    steps = pending(kind, version)
    if steps is None or version == 0:
        raise StartError(
            f"{name} was written by another version (its format is {version}, this program knows {newest(kind)}); "
            "use that version"
        )
    if steps:
        raise StartError(
            f"{name} has an older format ({version}, this program's is {newest(kind)}); start this version's server "
            "on it once, which brings it up to date"
        )


def newest(kind: str) -> int:
    """Return the version that this program knows."""
    return _all(kind)[-1].version


def _all(kind: str) -> list[Migration]:
    found = [file for file in files(__package__).joinpath(kind).iterdir() if file.name.endswith(".sql")]
    steps = [Migration(int(file.name[:4]), file.read_text(encoding="utf-8")) for file in found]
    return sorted(steps, key=lambda step: step.version)
