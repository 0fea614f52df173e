"""`exemplar classify`: name pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.text import Text

from exemplar import Classification, ExemplarError, Verdict
from exemplar.commands.output import (
    VERDICT_STYLES,
    named,
    percent,
    plain,
    print_error,
    print_hints,
    print_json,
    print_line,
    print_table,
)
from exemplar.commands.parameters import GalleryId
from exemplar.commands.pictures import Picture, Regions, pictures, sentence
from exemplar.commands.session import Session, client_command


@client_command
def classify(
    session: Session,
    gallery: GalleryId,
    images: Annotated[list[str], typer.Argument(metavar="IMAGE", help="Image files to name.", show_default=False)],
    region: Regions = None,
    top_k: Annotated[
        int | None, typer.Option(min=1, max=100, help="Matches to return for each picture.", show_default="5")
    ] = None,
    false_accept_rate: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Share of pictures of no enrolled class that may be given a name.",
            show_default="the gallery's",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Refuse unless the server runs this model.", show_default=False)
    ] = None,
    require_match: Annotated[
        bool, typer.Option("--require-match", help="Exit with 1 unless every picture is a MATCH.")
    ] = False,
) -> None:
    """Name pictures by the classes of a gallery.

    A picture is a MATCH, AMBIGUOUS (two classes too close to call) or UNKNOWN
    (no class near enough; the nearest is shown in brackets).
    """
    asked = pictures(images, region)
    answers = session.client.classify_many(
        gallery,
        [picture.image() for picture in asked],
        top_k=top_k,
        false_accept_rate=false_accept_rate,
        model=model,
    )
    if session.as_json:
        print_json({"results": [document(*pair) for pair in zip(asked, answers, strict=True)]})
    else:
        show(asked, answers)
    verdicts = {answer.verdict if isinstance(answer, Classification) else None for answer in answers}
    if None in verdicts or (require_match and verdicts != {Verdict.MATCH}):
        raise typer.Exit(1)


def document(picture: Picture, answer: Classification | ExemplarError) -> dict[str, object]:
    """Return one result for `--json`: the image, its region, and its answer's fields or `error`."""
    asked = {"image": picture.file, "region": picture.region}
    if isinstance(answer, ExemplarError):
        return {**asked, "error": answer}
    return {**asked, "class_id": answer.class_id, **plain(answer)}


def show(pictures: Sequence[Picture], answers: Sequence[Classification | ExemplarError]) -> None:
    """Print the table and the threshold behind it; then, on stderr, why a picture has no answer."""
    columns = ["image", "verdict", "class", "probability", "distance", "second"]
    print_table(columns, map(row, pictures, answers), right=("probability", "distance"))
    answered = [answer for answer in answers if isinstance(answer, Classification)]
    if answered:
        first = answered[0]
        print_line(
            Text(
                f"Threshold {first.threshold:.3f} for a false-accept rate of {percent(first.false_accept_rate)}; "
                f"gallery revision {first.gallery_revision}.",
                "dim",
            )
        )
    # Many pictures go in several requests, and the evidence grows with each: the last says the most.
    print_hints([hint for answer in answered for hint in answer.hints][-1:])
    for picture, answer in zip(pictures, answers, strict=True):
        if isinstance(answer, ExemplarError):
            print_error(sentence(answer, [picture]))


def row(picture: Picture, answer: Classification | ExemplarError) -> list[str | Text]:
    """Return one row of the table."""
    image = str(picture)
    if isinstance(answer, ExemplarError):
        return [image, Text("ERROR", "bold red"), "", "", "", ""]
    verdict = Text(answer.verdict, VERDICT_STYLES[answer.verdict])
    if not answer.matches:
        return [image, verdict, "", "", "", ""]
    nearest, *others = answer.matches
    name = named(nearest.class_id, nearest.display_name)
    second = f"{named(others[0].class_id, others[0].display_name)} {others[0].distance:.3f}" if others else ""
    return [
        image,
        verdict,
        Text(f"[{name}]", "dim") if answer.verdict is Verdict.UNKNOWN else name,
        percent(answer.probability),
        f"{nearest.distance:.3f}",
        second,
    ]
