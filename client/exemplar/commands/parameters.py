"""Parameters that several commands take, each with its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from exemplar import Tls

SHARED_PANEL = "Connection and output"

GalleryId = Annotated[str, typer.Argument(metavar="GALLERY", help="Id of the gallery.", show_default=False)]
ClassId = Annotated[str, typer.Argument(metavar="CLASS", help="Id of the class.", show_default=False)]
DisplayName = Annotated[str | None, typer.Option(help="A name for people.", show_default=False)]
Etag = Annotated[
    str, typer.Option(help="Refuse unless it still has this etag, as `show` printed it.", show_default=False)
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

Address = Annotated[
    str, typer.Option(envvar="EXEMPLAR_ADDRESS", help="The server's host:port.", rich_help_panel=SHARED_PANEL)
]
Token = Annotated[
    str | None,
    typer.Option(
        envvar="EXEMPLAR_TOKEN",
        help="Bearer token, where the server asks for one.",
        show_default=False,
        rich_help_panel=SHARED_PANEL,
    ),
]
SystemTls = Annotated[
    bool, typer.Option("--tls", help="Encrypt, trusting the system's certificates.", rich_help_panel=SHARED_PANEL)
]
TlsCa = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        help="Encrypt, trusting the certificates in this PEM file.",
        show_default=False,
        rich_help_panel=SHARED_PANEL,
    ),
]
Timeout = Annotated[
    float, typer.Option(min=0.001, help="Seconds to wait for each answer.", rich_help_panel=SHARED_PANEL)
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document instead of a table.", rich_help_panel=SHARED_PANEL)
]


def security(tls: bool, tls_ca: Path | None) -> Tls | bool:
    """Return what `--tls` and `--tls-ca` ask for, as the client takes it."""
    return Tls(ca=tls_ca) if tls_ca else tls
