"""`exemplar exemplars`: add exemplars to a class and remove them."""

from __future__ import annotations

from typing import Annotated

import typer

from exemplar import ImageClass
from exemplar.commands.enroll import print_warnings
from exemplar.commands.output import print_json, print_line
from exemplar.commands.parameters import ClassId, GalleryId, Yes
from exemplar.commands.pictures import Regions, named_pictures, pictures
from exemplar.commands.session import Session, client_command

app = typer.Typer(no_args_is_help=True, help="Add exemplars to a class, and remove them.")


@app.command()
@client_command
def add(
    session: Session,
    gallery: GalleryId,
    class_id: ClassId,
    images: Annotated[list[str], typer.Argument(metavar="IMAGE", help="More pictures of it.", show_default=False)],
    region: Regions = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse pictures that have warnings.")] = False,
) -> None:
    """Teach a class by more pictures; it is then found by the mean of them all."""
    asked = pictures(images, region)
    with named_pictures(asked):
        added = session.client.add_exemplars(gallery, class_id, [each.image() for each in asked], strict=strict)
    if session.as_json:
        print_json(added)
        return
    _say(added.image_class, added.gallery_revision)
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
            metavar="SHA256", help="Which one, by its name in `exemplar classes show`.", show_default=False
        ),
    ],
    missing_ok: Annotated[
        bool, typer.Option("--missing-ok", help="Succeed where the class has no such exemplar.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Remove an exemplar of a class; the others stand for it."""
    if not yes:
        typer.confirm(f"Remove an exemplar of class {class_id} of gallery {gallery}?", abort=True, err=True)
    removed = session.client.remove_exemplar(gallery, class_id, sha256, allow_missing=missing_ok)
    if session.as_json:
        print_json(removed)
        return
    _say(removed.image_class, removed.gallery_revision)


def _say(of: ImageClass, revision: int) -> None:
    count = len(of.exemplars)
    held = "1 exemplar" if count == 1 else f"{count} exemplars"
    print_line(f"{of.id} in {of.gallery} has {held}, now at revision {revision}.")
