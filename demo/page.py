"""The page that the demonstration leaves behind: the figures, and queries beside what they matched."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from demo.characters import Character
from demo.figures import accuracy_by_alphabet, figures
from demo.measure import Answer, Measured
from exemplar import Classification, Verdict
from exemplar_trainer.reports.contact_sheet import Thumbnail
from exemplar_trainer.reports.render import png_uri, render

_TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class _Card:
    """An answer, as the template shows it; `hit` where it is one that a user would want."""

    hit: bool
    pictures: tuple[Thumbnail, Thumbnail]
    answer: Classification
    nearest: str
    distance: float
    truth: str


def render_page(characters: Sequence[Character], origin: str, measured: Measured, what: str = "characters") -> str:
    """Render the page.

    Args:
        characters: those that were enrolled.
        origin: where they come from, in words that follow those for what they are.
        measured: the answers.
        what: the word for what they are.
    """
    exemplars = {character.class_id: character.exemplar for character in characters}
    rng = random.Random(1)

    def cards(answers: list[Answer], count: int) -> list[_Card]:
        return [_card(answer, exemplars) for answer in rng.sample(answers, min(count, len(answers)))]

    named = [each for each in measured.everything if each.answer.verdict is Verdict.MATCH]
    doubtful = [each for each in measured.everything if each.answer.verdict is Verdict.AMBIGUOUS]
    return render(
        "demonstration.html",
        "Exemplar: named from one example",
        f"{len(characters)} {what} {origin}, one exemplar each; their other images are the queries.",
        folder=_TEMPLATES,
        figures=figures(measured),
        sheets=[
            ("Named from one example", cards([each for each in named if each.right], 24)),
            ("Too close to call: the server says so", cards(doubtful, 8)),
            (f"{what.capitalize()} that are not enrolled", cards(measured.strangers, 12)),
            ("Named wrongly", cards([each for each in named if not each.right], 12)),
        ],
        by_alphabet=accuracy_by_alphabet(measured),
    )


def _card(answer: Answer, exemplars: dict[str, Path]) -> _Card:
    best, unknown = answer.answer.matches[0], answer.answer.verdict is Verdict.UNKNOWN
    return _Card(
        hit=unknown if answer.truth is None else answer.right and not unknown,
        pictures=(_picture(answer.query, "query"), _picture(exemplars[best.class_id], "nearest")),
        answer=answer.answer,
        nearest=best.display_name,
        distance=best.distance,
        truth=answer.truth.display_name if answer.truth else "none that is enrolled",
    )


def _picture(path: Path, words: str) -> Thumbnail:
    return Thumbnail(path.name, png_uri(path.read_bytes()), words)
