"""`exemplar diagnose`: find the classes of a gallery that are easily confused."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from exemplar.commands.output import print_hints, print_json, print_line, print_table
from exemplar.commands.parameters import GalleryId
from exemplar.commands.session import Session, client_command


@client_command
def diagnose(
    session: Session,
    gallery: GalleryId,
    max_pairs: Annotated[int, typer.Option(min=1, max=1000, help="Pairs to show at most.")] = 20,
) -> None:
    """Find the pairs of classes most easily confused.

    Where the latest queries are another kind of picture than the exemplars, it
    says so too.
    """
    found = session.client.diagnose(gallery, max_pairs)
    if session.as_json:
        print_json(found)
        return
    if found.pairs:
        print_table(
            ["class", "class", "distance", ""],
            [
                [
                    pair.first_class_id,
                    pair.second_class_id,
                    f"{pair.distance:.3f}",
                    Text("too close", "yellow") if pair.too_close else "",
                ]
                for pair in found.pairs
            ],
            right=("distance",),
        )
    count = "1 pair is" if found.too_close_count == 1 else f"{found.too_close_count:,} pairs are"
    print_line(
        f"{count} nearer than the threshold of {found.threshold:.3f} (gallery revision {found.gallery_revision})."
    )
    print_hints(found.hints)
