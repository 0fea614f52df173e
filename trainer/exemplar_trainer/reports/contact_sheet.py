"""Queries beside what they were named as: where people look first to learn what a model gets wrong."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from exemplar_encoder.arrays import Floats, Pixels
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.evaluation.accuracy import answer
from exemplar_trainer.evaluation.episodes import Protocol, draw_episodes
from exemplar_trainer.reports.render import png_uri

_EPISODES = 60
_THUMBNAIL = 64


@dataclass(frozen=True)
class Thumbnail:
    """An image on a card: where it is from, itself as a data URI, and the words below it."""

    name: str
    uri: str
    words: str


@dataclass(frozen=True)
class Card:
    """Pictures side by side, of a query that was named rightly (`hit`) or wrongly."""

    hit: bool
    pictures: Sequence[Thumbnail]
    caption: str = ""


@dataclass(frozen=True)
class NamedQuery:
    """A query and the class it was named as.

    Attributes:
        query: position of its image in the set.
        chosen: position of the exemplar of the class that was chosen.
        right: position of the exemplar of the query's own class.
        chosen_distance: from the query to the class chosen.
        right_distance: from the query to its own class.
    """

    query: int
    chosen: int
    right: int
    chosen_distance: float
    right_distance: float

    @property
    def hit(self) -> bool:
        """Whether the query was named rightly."""
        return self.chosen == self.right


def draw_named_queries(
    embeddings: Floats, images: ImageSet, protocol: Protocol, count: int, seed: int
) -> tuple[list[NamedQuery], list[NamedQuery]]:
    """Return hits (as they come) and misses (worst first), at most `count` of each, from one-shot episodes."""
    hits: list[NamedQuery] = []
    misses: dict[tuple[int, int], NamedQuery] = {}
    for episode in draw_episodes(images, protocol, _EPISODES, seed):
        answers = answer(embeddings, episode)
        named = [
            NamedQuery(
                query=int(episode.queries[row]),
                chosen=int(episode.exemplars[answers.chosen[row], 0]),
                right=int(episode.exemplars[row, 0]),
                chosen_distance=float(answers.distances[row, answers.chosen[row]]),
                right_distance=float(answers.distances[row, row]),
            )
            for row in range(protocol.way)
        ]
        for each in named:
            if not each.hit:
                misses.setdefault((each.query, each.chosen), each)
        # At most one hit an episode, so that they are not all of one group.
        one = named[named[0].query % protocol.way]
        if one.hit:
            hits.append(one)
    worst = sorted(misses.values(), key=lambda miss: miss.chosen_distance - miss.right_distance)
    return hits[:count], worst[:count]


def card_of(images: ImageSet, named: NamedQuery) -> Card:
    """Show the query beside the exemplar that it was taken for, and its own where that is another."""
    shown = [(named.query, "query"), (named.chosen, f"taken for\n{named.chosen_distance:.3f}")]
    if not named.hit:
        shown.append((named.right, f"is\n{named.right_distance:.3f}"))
    pictures = [Thumbnail(images.paths[at], thumbnail_uri(images.pixels[at]), words) for at, words in shown]
    return Card(named.hit, pictures)


def thumbnail_uri(pixels: Pixels) -> str:
    """Return an input `[height, width, channels]` as the network sees it, as a data URI."""
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return png_uri(stream.getvalue())
