"""`exemplar classes`: list, show, change and delete classes, and fetch their exemplars' images."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from exemplar import KEEP, ImageClass
from exemplar.commands.enroll import parse_attributes
from exemplar.commands.output import attributes, moment, print_facts, print_json, print_line, print_table
from exemplar.commands.parameters import ClassId, DisplayName, Etag, GalleryId, Yes
from exemplar.commands.pictures import written
from exemplar.commands.session import Session, client_command

app = typer.Typer(no_args_is_help=True, help="List, show, change and delete classes; fetch their images.")


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
                "(damaged)" if each.damaged else each.display_name,
                attributes(each.attributes),
                "" if each.damaged else str(len(each.exemplars)),
                "" if each.damaged else moment(each.update_time),
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
    etag: Etag = "",
) -> None:
    """Change a class's name or attributes; keep its exemplars, and all that is not given."""
    entries = parse_attributes(attribute)
    changed = session.client.update_class(
        gallery,
        class_id,
        display_name=KEEP if display_name is None else display_name,
        attributes=entries if entries or clear_attributes else KEEP,
        etag=etag,
    )
    _show(session, changed)


@app.command()
@client_command
def delete(
    session: Session,
    gallery: GalleryId,
    class_id: ClassId,
    missing_ok: Annotated[bool, typer.Option("--missing-ok", help="Succeed where there is no such class.")] = False,
    yes: Yes = False,
) -> None:
    """Delete a class."""
    if not yes:
        typer.confirm(f"Delete class {class_id} of gallery {gallery}?", abort=True, err=True)
    revision = session.client.delete_class(gallery, class_id, allow_missing=missing_ok)
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
    sha256: Annotated[
        str | None,
        typer.Argument(
            metavar="SHA256", help="Which of its exemplars; needless where it has one.", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write it; - for stdout.", show_default=False),
    ] = ...,  # type: ignore[assignment]  # required, though an argument before it is not
) -> None:
    """Fetch an exemplar's image as it was sent."""
    name = sha256 or _only_exemplar(session, gallery, class_id)
    content = session.client.exemplar_image(gallery, class_id, name)
    if str(output) == "-":
        sys.stdout.buffer.write(content)
        return
    output.write_bytes(content)
    if session.as_json:
        print_json({"file": str(output), "sha256": name, "size_bytes": len(content)})
    else:
        print_line(f"Wrote {len(content):,} bytes to {output}.")


def _only_exemplar(session: Session, gallery: str, class_id: str) -> str:
    found = [each.sha256 for each in session.client.get_class(gallery, class_id).exemplars]
    if len(found) != 1:
        raise typer.BadParameter(f"{class_id} has {len(found)} exemplars; say which one: {', '.join(found)}")
    return found[0]


def _show(session: Session, of: ImageClass) -> None:
    if session.as_json:
        print_json(of)
        return
    print_facts(
        {
            "class": of.id,
            "gallery": of.gallery,
            "name": of.display_name,
            "attributes": attributes(of.attributes),
            "enrolled": moment(of.create_time),
            "changed": moment(of.update_time),
            "etag": of.etag,
        }
    )
    for each in of.exemplars:
        region = f", the region {written(each.region)}" if each.region else ""
        print_line("")
        print_line(f"exemplar    {each.sha256}")
        print_line(
            f"            {each.format}, {each.width} x {each.height} pixels{region}, {each.size_bytes:,} bytes"
        )
