"""`exemplar enroll`: teach a class."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from exemplar import AlreadyExistsError, ExemplarWarning
from exemplar.commands.output import named, print_json, print_line
from exemplar.commands.parameters import GalleryId
from exemplar.commands.pictures import Regions, named_pictures, pictures
from exemplar.commands.session import Session, client_command
from exemplar.images import require_files


def parse_attributes(pairs: list[str] | None) -> dict[str, str]:
    """Read `key=value` pairs.

    Raises:
        typer.BadParameter: A pair without '=' or without a key.
    """
    entries = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise typer.BadParameter(f"an attribute is written key=value; this is {pair!r}")
        entries[key] = value
    return entries


@client_command
def enroll(
    session: Session,
    gallery: GalleryId,
    class_id: Annotated[str, typer.Argument(metavar="CLASS", help="Your id for the class.", show_default=False)],
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE",
            help="The picture that stands for it; several where the gallery allows it.",
            show_default=False,
        ),
    ],
    region: Regions = None,
    display_name: Annotated[str, typer.Option(help="A name for people.", show_default=False)] = "",
    attribute: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A fact about the class; may be repeated.", show_default=False),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse a picture that has warnings.")] = False,
    create: Annotated[bool, typer.Option("--create", help="Create the gallery where there is none.")] = False,
) -> None:
    """Teach a class by its picture; replace a class of the same id."""
    attributes = parse_attributes(attribute)
    asked = pictures(images, region)
    require_files(images)  # a wrong name is refused before a gallery is made for it
    if create:
        try:
            session.client.create_gallery(gallery)
        except AlreadyExistsError:
            create = False
    with named_pictures(asked):
        enrolled = session.client.enroll(
            gallery,
            class_id,
            [picture.image() for picture in asked],
            display_name=display_name,
            attributes=attributes,
            strict=strict,
        )
    if session.as_json:
        print_json(enrolled)
        return
    if create:
        print_line(f"Created gallery {gallery}.")
    verb = "Replaced" if enrolled.replaced else "Enrolled"
    name = named(enrolled.image_class.id, enrolled.image_class.display_name)
    print_line(f"{verb} {name} in {gallery}, now at revision {enrolled.gallery_revision}.")
    print_warnings(enrolled.warnings)


def print_warnings(warnings: tuple[ExemplarWarning, ...]) -> None:
    """Print each warning on a line of its own."""
    for warning in warnings:
        print_line(Text.assemble((f"{warning.kind} ", "bold yellow"), warning.message))
