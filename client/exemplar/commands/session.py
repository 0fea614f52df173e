"""Every client command's shared options: those that lead to a server, and the choice of output.

A command is written as a function of a `Session` and its own parameters; `client_command` puts the shared options
behind them and hands the session in.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from exemplar import Client
from exemplar.channel import DEFAULT_ADDRESS
from exemplar.commands.parameters import Address, AsJson, SystemTls, Timeout, TlsCa, Token, security

# A person waits for the answer, so a server that is not there is reported after half a second rather than three.
_ATTEMPTS = 3


@dataclass(frozen=True)
class Session:
    """A connected client, and whether the output is for a program."""

    client: Client
    as_json: bool


def _options(
    address: Address = DEFAULT_ADDRESS,
    token: Token = None,
    tls: SystemTls = False,
    tls_ca: TlsCa = None,
    timeout: Timeout = 30.0,
    json: AsJson = False,
) -> Session:
    client = Client(address, timeout=timeout, token=token, tls=security(tls, tls_ca), attempts=_ATTEMPTS)
    return Session(client, json)


def client_command(function: Callable[..., None]) -> Callable[..., None]:
    """Turn `function(session, …)` into a command with the shared options."""
    shared = inspect.signature(_options, eval_str=True).parameters
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]

    @functools.wraps(function)
    def command(**values: Any) -> None:
        session = _options(**{name: values.pop(name) for name in shared})
        with session.client:
            function(session, **values)

    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*own, *shared.values())]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command
