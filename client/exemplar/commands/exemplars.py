"""`exemplar exemplars`: adds exemplars to a class and removes them."""

from __future__ import annotations

from typing import Annotated

import typer

from exemplar import Class
from exemplar.commands.classes import ClassId
from exemplar.commands.enroll import print_warnings
from exemplar.commands.galleries import GalleryId
from exemplar.commands.output import print_json, print_line
from exemplar.commands.session import Session, client_command

app = typer.Typer(no_args_is_help=True, help="Add exemplars to a class, and remove them.")


@app.command()
@client_command
def add(
    session: Session,
    gallery: GalleryId,
    class_id: ClassId,
    images: Annotated[list[str], typer.Argument(metavar="IMAGE", help="More pictures of it.", show_default=False)],
    strict: Annotated[bool, typer.Option("--strict", help="Refuse pictures that have warnings.")] = False,
) -> None:
    """Teach a class by more pictures; it is then found by the mean of them all."""
    added = session.client.add_exemplars(gallery, class_id, images, strict=strict)
    if session.as_json:
        print_json(added)
        return
    _say(added.class_, added.gallery_revision)
    print_warnings(added.warnings)


@app.command()
@client_command
def remove(
    session: Session,
    gallery: GalleryId,
    class_id: ClassId,
    sha256: Annotated[
        str,
        typer.Argument(
            metavar="SHA256", help="SHA-256 of its image, as `exemplar classes show` has it.", show_default=False
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove an exemplar of a class; the others stand for it."""
    if not yes:
        typer.confirm(f"Remove an exemplar of class {class_id} of gallery {gallery}?", abort=True, err=True)
    removed = session.client.remove_exemplar(gallery, class_id, sha256)
    if session.as_json:
        print_json(removed)
        return
    _say(removed.class_, removed.gallery_revision)


def _say(class_: Class, revision: int) -> None:
    count = len(class_.exemplars)
    held = "1 exemplar" if count == 1 else f"{count} exemplars"
    print_line(f"{class_.id} in {class_.gallery} has {held}, now at revision {revision}.")
