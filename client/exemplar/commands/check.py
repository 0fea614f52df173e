"""`exemplar check`: check a picture before it is enrolled."""

from __future__ import annotations

from typing import Annotated

import typer

from exemplar import Region
from exemplar.commands.enroll import print_warnings
from exemplar.commands.output import named, print_json, print_line, print_table
from exemplar.commands.pictures import Picture, named_pictures, region_option
from exemplar.commands.session import Session, client_command


@client_command
def check(
    session: Session,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The picture.", show_default=False)],
    region: Annotated[
        Region | None, region_option("The part of it that is meant, as for `exemplar classify`.")
    ] = None,
    gallery: Annotated[
        str | None, typer.Option(help="Compare it with the classes of this gallery.", show_default=False)
    ] = None,
    class_id: Annotated[
        str,
        typer.Option(help="The class it is meant for, whose exemplars are not held against it.", show_default=False),
    ] = "",
) -> None:
    """Check a picture as enrolling it would, and store nothing.

    Says whether it is blank, tiny, blurred, the same as another class's, or too close to one.
    """
    picture = Picture(image, region)
    with named_pictures([picture]):
        found = session.client.check(picture.image(), gallery=gallery, class_id=class_id)
    if session.as_json:
        print_json(found)
        return
    facts = found.exemplar
    print_line(f"{picture}: {facts.format}, {facts.width} x {facts.height} pixels, {facts.size_bytes:,} bytes.")
    print_warnings(found.warnings)
    if not found.warnings:
        print_line("No warnings.")
    if found.nearest:
        print_table(
            ["nearest class", "distance"],
            [[named(each.class_id, each.display_name), f"{each.distance:.3f}"] for each in found.nearest],
            right=("distance",),
        )
