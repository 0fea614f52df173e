"""Parameters that several commands take, each with its help."""

from __future__ import annotations

from typing import Annotated

import typer

GalleryId = Annotated[str, typer.Argument(metavar="GALLERY", help="Id of the gallery.", show_default=False)]
ClassId = Annotated[str, typer.Argument(metavar="CLASS", help="Id of the class.", show_default=False)]
DisplayName = Annotated[str | None, typer.Option(help="A name for people.", show_default=False)]
Etag = Annotated[
    str, typer.Option(help="Refuse unless it still has this etag, as `show` printed it.", show_default=False)
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
