"""`exemplar galleries`: list, create, show, change and delete galleries."""

from __future__ import annotations

from typing import Annotated

import typer

from exemplar import KEEP, Gallery, NotFoundError
from exemplar.commands.output import moment, percent, print_facts, print_json, print_line, print_table
from exemplar.commands.parameters import DisplayName, Etag, GalleryId, Yes
from exemplar.commands.session import Session, client_command

app = typer.Typer(no_args_is_help=True, help="List, create, show, change and delete galleries.")


def _number_or_default(text: str) -> str:
    if text != "default":
        try:
            float(text)
        except ValueError:
            raise typer.BadParameter(f"a number or the word default, not {text!r}") from None
    return text


@app.command("list")
@client_command
def list_(session: Session) -> None:
    """List the galleries."""
    found = list(session.client.galleries())
    if session.as_json:
        print_json({"galleries": found})
        return
    print_table(
        ["gallery", "name", "classes", "revision", "model", "changed"],
        [
            [
                each.id,
                each.display_name,
                f"{each.class_count:,}",
                str(each.revision),
                each.model[:12],
                moment(each.update_time),
            ]
            for each in found
        ],
        right=("classes", "revision"),
    )


@app.command()
@client_command
def create(
    session: Session,
    gallery: GalleryId,
    display_name: DisplayName = None,
    false_accept_rate: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Share of pictures of no enrolled class that may be given a name.",
            show_default="the model's",
        ),
    ] = None,
    max_exemplars: Annotated[
        int | None, typer.Option(min=1, max=16, help="Exemplars a class may hold.", show_default="1")
    ] = None,
) -> None:
    """Create an empty gallery."""
    made = session.client.create_gallery(
        gallery,
        display_name=display_name or "",
        false_accept_rate=false_accept_rate,
        max_exemplars_per_class=max_exemplars,
    )
    if session.as_json:
        print_json(made)
    else:
        print_line(f"Created gallery {made.id}.")


@app.command()
@client_command
def show(session: Session, gallery: GalleryId) -> None:
    """Show a gallery."""
    _show(session, session.client.get_gallery(gallery))


@app.command()
@client_command
def update(
    session: Session,
    gallery: GalleryId,
    display_name: DisplayName = None,
    false_accept_rate: Annotated[
        str | None,
        typer.Option(
            metavar="RATE",
            parser=_number_or_default,
            help="As for `create`; the word default returns to the model's.",
            show_default=False,
        ),
    ] = None,
    max_exemplars: Annotated[
        int | None, typer.Option(min=1, max=16, help="Exemplars a class may hold.", show_default=False)
    ] = None,
    etag: Etag = "",
) -> None:
    """Change a gallery; keep what is not given."""
    rate = None if false_accept_rate in (None, "default") else float(false_accept_rate or 0)
    changed = session.client.update_gallery(
        gallery,
        display_name=KEEP if display_name is None else display_name,
        false_accept_rate=KEEP if false_accept_rate is None else rate,
        max_exemplars_per_class=KEEP if max_exemplars is None else max_exemplars,
        etag=etag,
    )
    _show(session, changed)


@app.command()
@client_command
def delete(
    session: Session,
    gallery: GalleryId,
    force: Annotated[bool, typer.Option("--force", help="Delete it even when it holds classes.")] = False,
    missing_ok: Annotated[bool, typer.Option("--missing-ok", help="Succeed where there is no such gallery.")] = False,
    yes: Yes = False,
) -> None:
    """Delete a gallery."""
    if not yes:
        _confirm(session, gallery, missing_ok)
    session.client.delete_gallery(gallery, force=force, allow_missing=missing_ok)
    if session.as_json:
        print_json({"deleted": gallery})
    else:
        print_line(f"Deleted gallery {gallery}.")


def _confirm(session: Session, gallery: str, missing_ok: bool) -> None:
    try:
        held = session.client.get_gallery(gallery).class_count
    except NotFoundError:
        if missing_ok:
            return
        raise
    classes = "1 class" if held == 1 else f"{held:,} classes"
    typer.confirm(f"Delete gallery {gallery} with its {classes}?", abort=True, err=True)


def _show(session: Session, gallery: Gallery) -> None:
    if session.as_json:
        print_json(gallery)
        return
    rate, own = gallery.false_accept_rate, gallery.calibration
    print_facts(
        {
            "gallery": gallery.id,
            "name": gallery.display_name,
            "classes": f"{gallery.class_count:,}",
            "revision": str(gallery.revision),
            "model": gallery.model,
            "false-accept rate": "the model's" if rate is None else percent(rate),
            "calibration": "the model's" if own is None else f"its own, fitted on {own.fitted_on}",
            "exemplars a class": f"up to {gallery.max_exemplars_per_class}",
            "created": moment(gallery.create_time),
            "changed": moment(gallery.update_time),
            "etag": gallery.etag,
        }
    )
