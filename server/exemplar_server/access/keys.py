"""API keys and the file that keeps them: JSON, replaced as a whole, readable by its owner only.

A key is `exk_<id>_<secret>`. The file holds its SHA-256 and never the key. A slow hash would be of no use: the secret
is 256 random bits, which nobody tries out one by one, and each call would pay for it. An entry may name a client
certificate instead, which has no secret here.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from exemplar_server.access.caller import Caller, limits_problem, patterns_problem, scopes_problem

_FORMAT = 1
_KEY = re.compile(r"exk_([0-9a-f]{12})_[0-9a-f]{64}")
_NAME = re.compile(r"[\w.@:+-]{1,64}", re.ASCII)
_FIELDS = {"name", "scopes", "galleries", "created", "expires", "id", "sha256", "certificate", "limits"}


class KeyFileError(Exception):
    """The file of keys cannot be used; the message is a sentence that names it."""


@dataclass(frozen=True)
class KeyEntry:
    """What is kept of a key.

    Attributes:
        name: of its caller.
        scopes: of its caller.
        galleries: its caller's patterns.
        created: when, ISO 8601 in UTC.
        expires: until when it holds, likewise; None for ever.
        id: of a key, the middle of it; empty for a certificate's entry.
        sha256: of the whole key, in hexadecimal; empty for a certificate's entry.
        certificate: the common or alternative name in a client certificate; empty for a key.
        limits: of its caller.
    """

    name: str
    scopes: tuple[str, ...]
    galleries: tuple[str, ...]
    created: str
    expires: str | None = None
    id: str = ""
    sha256: str = ""
    certificate: str = ""
    limits: Mapping[str, int] = field(default_factory=dict)

    @property
    def caller(self) -> Caller:
        """Whom it stands for."""
        return Caller(self.name, frozenset(self.scopes), self.galleries, self.limits)

    def expired(self, now: datetime) -> bool:
        """Whether it holds no longer."""
        return self.expires is not None and datetime.fromisoformat(self.expires) <= now


def key_id(key: str) -> str | None:
    """Return the id in a key; None where it is no key."""
    found = _KEY.fullmatch(key)
    return found[1] if found else None


def digest(key: str) -> str:
    """Return what is kept of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def new_entry(
    name: str,
    scopes: Sequence[str],
    galleries: Sequence[str],
    expires: datetime | None,
    certificate: str = "",
    limits: Mapping[str, int] | None = None,
) -> tuple[KeyEntry, str]:
    """Make an entry, and the key that it is of; the key is empty for a certificate's."""
    fields: dict[str, Any] = {"name": name, "scopes": tuple(scopes), "galleries": tuple(galleries)}
    fields |= {"created": _moment(datetime.now(UTC)), "expires": _moment(expires) if expires else None}
    fields["limits"] = dict(limits or {})
    if certificate:
        return KeyEntry(**fields, certificate=certificate), ""
    identity = secrets.token_hex(6)
    key = f"exk_{identity}_{secrets.token_hex(32)}"
    return KeyEntry(**fields, id=identity, sha256=digest(key)), key


def name_problem(name: object) -> str | None:
    """Return a sentence on why no key may have this name; None when one may."""
    if isinstance(name, str) and _NAME.fullmatch(name):
        return None
    return f"a key's name is 1 to 64 letters, digits and any of . @ : + - _; not {name!r}"


def parse_keys(content: bytes) -> list[KeyEntry]:
    """Read what a file of keys holds.

    Raises:
        ValueError: it is no such file; the message says where.
    """
    document = json.loads(content)
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise ValueError(f"it is no file of keys of format {_FORMAT}")
    entries = document.get("keys")
    if not isinstance(entries, list):
        raise ValueError("it has no list of keys")
    found = [_entry(each, f"keys[{index}]") for index, each in enumerate(entries)]
    for each in ("name", "id", "certificate"):
        values = [value for entry in found if (value := getattr(entry, each))]
        if len(set(values)) < len(values):
            raise ValueError(f"two of its keys have the same {each}")
    return found


def read_keys(file: Path) -> list[KeyEntry]:
    """Read a file of keys.

    Raises:
        KeyFileError: it cannot be read, or is no such file.
    """
    try:
        return parse_keys(file.read_bytes())
    except OSError as error:
        raise KeyFileError(f"the file of keys {file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise KeyFileError(f"the file of keys {file} is damaged: {error}") from error


@contextmanager
def changing(file: Path) -> Iterator[list[KeyEntry]]:
    """Yield the keys of a file to be changed, and replace it with them; nobody else changes it meanwhile.

    Raises:
        KeyFileError: it cannot be read or written, or is damaged.
    """
    file = file.resolve()
    try:
        folder = os.open(file.parent, os.O_RDONLY)
    except OSError as error:
        raise KeyFileError(f"the folder {file.parent} cannot be used: {error.strerror}") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        entries = read_keys(file) if file.exists() else []
        yield entries
        try:
            _replace(file, {"format": _FORMAT, "keys": [_kept(entry) for entry in entries]})
            os.fsync(folder)
        except OSError as error:
            raise KeyFileError(f"the file of keys {file} cannot be written: {error.strerror}") from error
    finally:
        os.close(folder)


def _replace(file: Path, document: Any) -> None:
    descriptor, beside = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)  # of mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            json.dump(document, opened, indent=2, ensure_ascii=False)
            opened.write("\n")
            opened.flush()
            if file.exists() and os.geteuid() == 0:  # else the server, another user, could not read it any more
                before = file.stat()
                os.fchown(descriptor, before.st_uid, before.st_gid)
            os.fsync(descriptor)
        Path(beside).replace(file)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(beside).unlink()
        raise


def _kept(entry: KeyEntry) -> dict[str, Any]:
    return {name: value for name, value in asdict(entry).items() if value not in ("", None, {})}


def _entry(value: Any, where: str) -> KeyEntry:
    if not isinstance(value, dict) or not value.keys() <= _FIELDS:
        raise ValueError(f"{where} has other fields than {', '.join(sorted(_FIELDS))}")
    scopes, galleries, limits = value.get("scopes"), value.get("galleries"), value.get("limits", {})
    if not isinstance(scopes, list) or not isinstance(galleries, list) or not scopes or not galleries:
        raise ValueError(f"{where} needs lists of scopes and galleries")
    if not isinstance(limits, dict):
        raise ValueError(f"{where}.limits are not limits by name")
    problem = name_problem(value.get("name")) or scopes_problem(scopes) or patterns_problem(galleries)
    problem = problem or limits_problem(limits)
    if problem:
        raise ValueError(f"{where}: {problem}")
    texts = {name: value.get(name, "") for name in ("created", "id", "sha256", "certificate")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise ValueError(f"{where} has a field that is no text")
    if bool(texts["certificate"]) == bool(texts["id"]) or bool(texts["id"]) != bool(texts["sha256"]):
        raise ValueError(f"{where} needs id and sha256, or certificate")
    expires = value.get("expires")
    if expires is not None and (not isinstance(expires, str) or datetime.fromisoformat(expires).tzinfo is None):
        raise ValueError(f"{where}.expires is no moment with a time zone")
    return KeyEntry(value["name"], tuple(scopes), tuple(galleries), expires=expires, limits=limits, **texts)


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")
