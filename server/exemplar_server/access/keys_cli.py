"""`exemplar keys`: create, list and revoke what callers show to a server.

Exit codes: 0 done, 1 refused or the file cannot be used, 2 wrong usage. A server takes up changes by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from exemplar.commands.output import print_error, print_json, print_line, print_table
from exemplar_server.access.caller import ALL_GALLERIES, limits_problem, patterns_problem, scopes_problem
from exemplar_server.access.keys import KeyEntry, KeyFileError, changing, name_problem, new_entry, read_keys

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Create, list and revoke the keys that callers show to a server.",
)

Keys = Annotated[
    Path, typer.Option("--keys", envvar="EXEMPLAR_KEYS", help="The file of keys.", show_default=False, dir_okay=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]

_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is; the audit log tells this name.")],
    keys: Keys,
    scope: Annotated[
        list[str],
        typer.Option("--scope", "-s", help="read, write or admin; may be given again.", show_default=False),
    ],
    gallery: Annotated[
        list[str] | None,
        typer.Option(
            "--gallery", "-g", help="A gallery, or the beginning of ids and *; may be given again.", show_default="*"
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(help="After a time (12h, 90d, 4w) or at a date (2027-01-31).", show_default="never"),
    ] = None,
    certificate: Annotated[
        str | None,
        typer.Option(help="No key: who shows a certificate of this common or alternative name.", show_default="none"),
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=NUMBER",
            help="At most so many requests, images or bytes a second, or classes it sees; may be given again.",
            show_default="none",
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Create a key and print it, this once: the file keeps only what it is checked by."""
    patterns = gallery or list(ALL_GALLERIES)
    limits = _limits(limit or [])
    problem = name_problem(name) or scopes_problem(scope) or patterns_problem(patterns) or limits_problem(limits)
    if problem:
        raise typer.BadParameter(problem)
    entry, key = new_entry(name, scope, patterns, _moment(expires), certificate or "", limits)
    with _told(), changing(keys) as entries:
        if any(each.name == name for each in entries):
            raise KeyFileError(f"{keys} has a key {name!r} already; revoke it, or choose another name")
        if certificate and any(each.certificate == certificate for each in entries):
            raise KeyFileError(f"{keys} has an entry for certificates of {certificate!r} already")
        entries.append(entry)
    if json:
        print_json({**_shown(entry), "key": key or None})
    elif key:
        print_line(key)
        print_error("this key is shown once; a caller gives it as EXEMPLAR_TOKEN, or with --token")
    else:
        print_line(f"who shows a certificate of {certificate} is {name} now")


@app.command("list")
def list_keys(keys: Keys, json: AsJson = False) -> None:
    """List the keys: whose, for what, until when."""
    with _told():
        entries = read_keys(keys)
    if json:
        print_json([_shown(entry) for entry in entries])
        return
    rows = [
        [
            entry.name,
            ", ".join(entry.scopes),
            ", ".join(entry.galleries),
            entry.created[:10],
            "expired" if entry.expired(datetime.now(UTC)) else (entry.expires or "never")[:10],
            f"certificate {entry.certificate}" if entry.certificate else f"exk_{entry.id}_...",
            ", ".join(f"{name}={value}" for name, value in entry.limits.items()),
        ]
        for entry in entries
    ]
    print_table(["name", "scopes", "galleries", "created", "expires", "shows", "limits"], rows)


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose.")],
    keys: Keys,
) -> None:
    """Revoke a key: within a second or two no server takes it any more."""
    with _told(), changing(keys) as entries:
        kept = [entry for entry in entries if entry.name != name]
        if len(kept) == len(entries):
            raise KeyFileError(f"{keys} has no key {name!r}")
        entries[:] = kept
    print_line(f"revoked {name}")


def _shown(entry: KeyEntry) -> dict[str, object]:
    return {name: value for name, value in asdict(entry).items() if name != "sha256" and value not in ("", {})}


def _limits(texts: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for text in texts:
        name, _, number = text.partition("=")
        if not number.isdecimal():
            raise typer.BadParameter(f"a limit is NAME=NUMBER, as requests=100; not {text!r}")
        found[name] = int(number)
    return found


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    if found := re.fullmatch(r"([1-9]\d{0,4})([hdw])", text):
        return datetime.now(UTC) + int(found[1]) * _UNITS[found[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time as 12h, 90d or 4w and no date as 2027-01-31") from None
    return moment.replace(tzinfo=moment.tzinfo or UTC)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except KeyFileError as error:
        print_error(str(error))
        raise typer.Exit(1) from error
