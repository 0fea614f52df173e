"""`exemplar classes`: lists, shows, changes and deletes classes, and fetches their exemplars' images."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from exemplar import KEEP, Class
from exemplar.commands.enroll import parse_attributes
from exemplar.commands.galleries import DisplayName, GalleryId
from exemplar.commands.output import attributes, moment, print_facts, print_json, print_line, print_table
from exemplar.commands.session import Session, client_command

app = typer.Typer(no_args_is_help=True, help="List, show, change and delete classes; fetch their images.")

ClassId = Annotated[str, typer.Argument(metavar="CLASS", help="Id of the class.", show_default=False)]


@app.command("list")
@client_command
def list_(
    session: Session,
    gallery: GalleryId,
    limit: Annotated[int | None, typer.Option(min=1, help="Classes to list at most.", show_default="all")] = None,
) -> None:
    """List the classes of a gallery."""
    found = list(islice(session.client.classes(gallery), limit))
    if session.as_json:
        print_json({"classes": found})
        return
    print_table(
        ["class", "name", "attributes", "exemplars", "changed"],
        [
            [
                each.id,
                each.display_name,
                attributes(each.attributes),
                str(len(each.exemplars)),
                moment(each.update_time),
            ]
            for each in found
        ],
        right=("exemplars",),
    )


@app.command()
@client_command
def show(session: Session, gallery: GalleryId, class_id: ClassId) -> None:
    """Show a class."""
    _show(session, session.client.get_class(gallery, class_id))


@app.command()
@client_command
def update(
    session: Session,
    gallery: GalleryId,
    class_id: ClassId,
    display_name: DisplayName = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="The class's facts, replacing those it has; may be repeated.",
            show_default=False,
        ),
    ] = None,
    clear_attributes: Annotated[bool, typer.Option("--clear-attributes", help="Remove the facts it has.")] = False,
) -> None:
    """Change a class's name or attributes; what is not given stays, and so does its exemplar."""
    entries = parse_attributes(attribute)
    changed = session.client.update_class(
        gallery,
        class_id,
        display_name=KEEP if display_name is None else display_name,
        attributes=entries if entries or clear_attributes else KEEP,
    )
    _show(session, changed)


@app.command()
@client_command
def delete(
    session: Session,
    gallery: GalleryId,
    class_id: ClassId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a class."""
    if not yes:
        typer.confirm(f"Delete class {class_id} of gallery {gallery}?", abort=True, err=True)
    revision = session.client.delete_class(gallery, class_id)
    if session.as_json:
        print_json({"deleted": class_id, "gallery_revision": revision})
    else:
        print_line(f"Deleted {class_id} of {gallery}, now at revision {revision}.")


@app.command()
@client_command
def image(
    session: Session,
    gallery: GalleryId,
    class_id: ClassId,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write it; - for stdout.", show_default=False),
    ],
    index: Annotated[int, typer.Option(min=0, help="Which of its exemplars, from 0.")] = 0,
) -> None:
    """Fetch an exemplar's image as it was sent."""
    content = session.client.exemplar_image(gallery, class_id, index)
    if str(output) == "-":
        sys.stdout.buffer.write(content)
        return
    output.write_bytes(content)
    if session.as_json:
        print_json({"file": str(output), "size_bytes": len(content)})
    else:
        print_line(f"Wrote {len(content):,} bytes to {output}.")


def _show(session: Session, class_: Class) -> None:
    if session.as_json:
        print_json(class_)
        return
    print_facts(
        {
            "class": class_.id,
            "gallery": class_.gallery,
            "name": class_.display_name,
            "attributes": attributes(class_.attributes),
            "enrolled": moment(class_.create_time),
            "changed": moment(class_.update_time),
        }
    )
    print_table(
        ["exemplar", "format", "pixels", "bytes", "SHA-256"],
        [
            [str(number), each.format, f"{each.width} x {each.height}", f"{each.size_bytes:,}", each.sha256]
            for number, each in enumerate(class_.exemplars)
        ],
        right=("bytes",),
    )
