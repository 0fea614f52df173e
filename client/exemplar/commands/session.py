"""Every client command's shared options: those that lead to a server, and the choice of output.

A command is written as a function of a `Session` and its own parameters; `client_command` puts the shared options
behind them and hands the session in.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from exemplar import Client, Tls
from exemplar.channel import DEFAULT_ADDRESS

SHARED_PANEL = "Connection and output"

# A person waits for the answer, so a server that is not there is reported after half a second rather than three.
_ATTEMPTS = 3


@dataclass(frozen=True)
class Session:
    """A connected client, and whether the output is for a program."""

    client: Client
    as_json: bool


def _options(
    address: Annotated[
        str,
        typer.Option(envvar="EXEMPLAR_ADDRESS", help="The server's host:port.", rich_help_panel=SHARED_PANEL),
    ] = DEFAULT_ADDRESS,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="EXEMPLAR_TOKEN",
            help="Bearer token, where the server asks for one.",
            show_default=False,
            rich_help_panel=SHARED_PANEL,
        ),
    ] = None,
    tls: Annotated[
        bool, typer.Option("--tls", help="Encrypt, trusting the system's certificates.", rich_help_panel=SHARED_PANEL)
    ] = False,
    tls_ca: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Encrypt, trusting the certificates in this PEM file.",
            show_default=False,
            rich_help_panel=SHARED_PANEL,
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.001, help="Seconds to wait for each answer.", rich_help_panel=SHARED_PANEL)
    ] = 30.0,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document instead of a table.", rich_help_panel=SHARED_PANEL)
    ] = False,
) -> Session:
    security = Tls(ca=tls_ca) if tls_ca else tls
    client = Client(address, timeout=timeout, token=token, tls=security, attempts=_ATTEMPTS)
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
