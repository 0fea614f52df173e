"""Whose a call is, told by what it shows before its message is read: a key, a token, a client certificate."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import TYPE_CHECKING

from exemplar_server.access.caller import ALL_GALLERIES, ANYONE, SCOPES, Caller
from exemplar_server.access.key_ring import KeyRing, unknown
from exemplar_server.errors import UnauthenticatedError

if TYPE_CHECKING:  # it needs an extra
    from exemplar_server.access.web_tokens import WebTokens

_TOKEN_HOLDER = Caller("token", frozenset(SCOPES), ALL_GALLERIES)


class Admittance:
    """Knows callers; without anything to know them by, everybody is let in to do everything."""

    def __init__(
        self, token: str | None = None, keys: KeyRing | None = None, web_tokens: WebTokens | None = None
    ) -> None:
        """Know callers by these.

        Args:
            token: the one token of all scopes, if there is one.
            keys: the keys, if there are any.
            web_tokens: an issuer's tokens, if any are taken.
        """
        self._token = token
        self._keys = keys
        self._web_tokens = web_tokens
        self.open = token is None and keys is None and web_tokens is None

    def look(self) -> None:
        """Take up changes of what callers are known by."""
        if self._keys is not None:
            self._keys.look()

    def caller(self, authorizations: Sequence[str], certificate_names: Sequence[str]) -> Caller:
        """Return whose a call is.

        Args:
            authorizations: its metadata `authorization`; a call should have one.
            certificate_names: in its verified client certificate, the common name first; empty without one.

        Raises:
            UnauthenticatedError: it shows nothing, or nothing that holds.
            UnavailableError: what it shows may hold, and is to be shown again.
        """
        if self.open:
            return ANYONE
        if authorizations:
            return self._shown(authorizations)
        if certificate_names and self._keys is not None:
            found = self._keys.caller_of_certificate(certificate_names)
            if found is not None:
                return found
        raise UnauthenticatedError(
            "CREDENTIALS_MISSING", "the call shows no key; send one as metadata `authorization: Bearer <key>`"
        )

    def _shown(self, authorizations: Sequence[str]) -> Caller:
        words = authorizations[0].split()
        if len(authorizations) > 1 or len(words) != 2 or words[0].lower() != "bearer":
            raise UnauthenticatedError(
                "CREDENTIALS_MALFORMED", "the call's metadata must be `authorization: Bearer <key>`, once"
            )
        key = words[1]
        if self._token is not None and hmac.compare_digest(key.encode(), self._token.encode()):
            return _TOKEN_HOLDER
        if self._keys is not None and key.startswith("exk_"):
            return self._keys.caller_of_key(key)
        if self._web_tokens is not None and key.count(".") == 2:
            return self._web_tokens.caller(key)
        raise unknown()
