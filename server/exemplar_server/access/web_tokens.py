"""Callers who show a JSON Web Token (RFC 7519) that an issuer signed; its keys come from a file or a URL.

| claim | is |
|---|---|
| `iss`, `aud`, `exp` | must be there, and be the issuer, the audience and a time to come |
| `sub` | the caller's name, which is told as `jwt:<sub>` |
| `scope` | words; `exemplar:read`, `exemplar:write` and `exemplar:admin` count (RFC 8693) |
| `exemplar_galleries` | a list of patterns; without it no gallery is there for the caller |
| `exemplar_limits` | limits by name |

Keys of a file are read anew when it changes, those of a URL every few minutes, and when a token names one that is not
known. Only signatures by asymmetric keys count. A token that was found good is not checked again until it expires.
"""

from __future__ import annotations

import json
import threading
import urllib.request
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from time import monotonic, time
from typing import Any

import jwt
import structlog

from exemplar_server.access.caller import SCOPES, Caller, limits_problem, patterns_problem
from exemplar_server.errors import StartError, UnauthenticatedError, UnavailableError

_log = structlog.get_logger()

_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_PREFIX = "exemplar:"
_LONGEST_NAME = 256
_LEEWAY = 30.0

# In seconds: how often keys are looked for, how often at the most, and how long an issuer may take.
_EVERY = {"file": 1.0, "URL": 300.0}
_AT_MOST_EVERY = 2.0
_PATIENCE = 10.0

_MOST_REMEMBERED = 4096


class WebTokens:
    """Knows callers by their tokens; belongs to one event loop."""

    def __init__(self, keys: str, issuer: str, audience: str) -> None:
        """Read the issuer's keys.

        Args:
            keys: where its set of keys (RFC 7517) is: a file, or an `https:` or `http:` URL.
            issuer: who must have signed a token.
            audience: for whom it must be.

        Raises:
            StartError: the keys cannot be had.
        """
        self._where = keys
        self._kind = "URL" if keys.startswith(("https://", "http://")) else "file"
        self._issuer, self._audience = issuer, audience
        self._reading: threading.Thread | None = None
        self._seen: object = None
        self._good: OrderedDict[str, tuple[Caller, float]] = OrderedDict()
        try:
            self._read()
        except (OSError, ValueError, jwt.PyJWTError) as error:
            raise StartError(f"the issuer's keys cannot be had from {keys}: {error}") from error

    def caller(self, token: str) -> Caller:
        """Return whom a token stands for.

        Raises:
            UnauthenticatedError: it is malformed, expired, for somebody else, or signed by nobody known.
            UnavailableError: it may be signed by a key that is being fetched.
        """
        self._look()
        found = self._good.get(token)
        if found is not None and found[1] > time():
            return found[0]
        try:
            key = self._keys.get(jwt.get_unverified_header(token).get("kid"))
            if key is None:
                raise self._unknown()
            claims = jwt.decode(
                token,
                key,
                list(_ALGORITHMS),
                issuer=self._issuer,
                audience=self._audience,
                leeway=_LEEWAY,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError:
            raise UnauthenticatedError("CREDENTIALS_EXPIRED", "the call shows a token that has expired") from None
        except jwt.DecodeError as error:
            if isinstance(error, jwt.InvalidSignatureError):
                raise UnauthenticatedError(
                    "CREDENTIALS_UNKNOWN", "the call shows a token whose signature is not the issuer's"
                ) from None
            raise UnauthenticatedError("CREDENTIALS_MALFORMED", f"the call shows no web token: {error}") from None
        except jwt.PyJWTError as error:
            raise UnauthenticatedError("CREDENTIALS_UNKNOWN", f"the call's token is not taken: {error}") from None
        caller = _caller(claims)
        good = self._good
        good[token] = caller, float(claims["exp"]) + _LEEWAY
        if len(good) > _MOST_REMEMBERED:
            good.popitem(last=False)
        return caller

    def _unknown(self) -> UnauthenticatedError | UnavailableError:
        if self._kind == "URL" and (self._reading is not None or monotonic() - self._looked > _AT_MOST_EVERY):
            self._read_aside()
            return UnavailableError(
                "KEYS_BEING_READ", "the issuer's keys are being read anew; try again", retry_after=0.5
            )
        return UnauthenticatedError("CREDENTIALS_UNKNOWN", "the call shows a token whose key is not the issuer's")

    def _look(self) -> None:
        if monotonic() - self._looked < _EVERY[self._kind]:
            return
        if self._kind == "URL":
            self._read_aside()
            return
        try:
            self._read()
        except (OSError, ValueError, jwt.PyJWTError) as error:
            self._tell(error)

    def _read_aside(self) -> None:
        """Fetch the keys in a thread of their own; calls go on with those that are known."""
        if self._reading is not None:
            return

        def read() -> None:
            try:
                self._read()
            except (OSError, ValueError, jwt.PyJWTError) as error:
                self._tell(error)
            finally:
                self._looked = monotonic()
                self._reading = None

        self._reading = threading.Thread(target=read, name="issuer's keys", daemon=True)
        self._reading.start()

    def _read(self) -> None:
        self._looked = monotonic()
        if self._kind == "URL":
            with urllib.request.urlopen(self._where, timeout=_PATIENCE) as answer:
                content = answer.read(1 << 20)
        else:
            found = Path(self._where).stat()
            state = found.st_mtime_ns, found.st_ino, found.st_size
            if state == self._seen:
                return
            self._seen = state
            content = Path(self._where).read_bytes()
        keys = jwt.PyJWKSet.from_dict(json.loads(content)).keys
        self._keys: Mapping[str | None, jwt.PyJWK] = {key.key_id: key for key in keys}
        self._good = OrderedDict()  # a key may have been withdrawn

    def _tell(self, error: Exception) -> None:
        _log.error("the issuer's keys are those of before", where=self._where, reason=str(error))


def _caller(claims: Mapping[str, Any]) -> Caller:
    name, scope = claims["sub"], claims.get("scope", "")
    galleries, limits = claims.get("exemplar_galleries", []), claims.get("exemplar_limits", {})
    problem = "its scope is no text" if not isinstance(scope, str) else None
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        problem = f"its subject is no name of 1 to {_LONGEST_NAME} printable characters"
    if not isinstance(galleries, list) or not isinstance(limits, dict):
        problem = "exemplar_galleries must be a list, and exemplar_limits an object"
    else:
        problem = problem or patterns_problem(galleries) or limits_problem(limits)
    if problem:
        raise UnauthenticatedError("CREDENTIALS_MALFORMED", f"the call's token is not as it should be: {problem}")
    words = {word.removeprefix(_PREFIX) for word in scope.split() if word.startswith(_PREFIX)}
    return Caller(f"jwt:{name}", frozenset(words & set(SCOPES)), tuple(galleries), limits)
