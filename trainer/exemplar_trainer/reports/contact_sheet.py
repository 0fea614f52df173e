"""Queries beside what they were taken for: where people look first to learn what a model gets wrong."""

from __future__ import annotations

from dataclasses import dataclass

from exemplar_encoder.arrays import Floats
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.evaluation.accuracy import answer
from exemplar_trainer.evaluation.episodes import Protocol, draw_episodes


@dataclass(frozen=True)
class Decision:
    """One query of an episode: positions of images in the set, and the distances of both exemplars."""

    query: int
    chosen: int
    right: int
    chosen_distance: float
    right_distance: float

    @property
    def hit(self) -> bool:
        """Whether the query was named rightly."""
        return self.chosen == self.right


def draw_decisions(
    embeddings: Floats, images: ImageSet, protocol: Protocol, count: int, seed: int
) -> tuple[list[Decision], list[Decision]]:
    """Hits (as they come) and misses (worst first), at most `count` of each, from one-shot episodes."""
    hits: list[Decision] = []
    misses: dict[tuple[int, int], Decision] = {}
    for episode in draw_episodes(images, protocol, 60, seed):
        answers = answer(embeddings, episode)
        chosen, distances = answers.chosen, answers.distances
        for row in range(protocol.way):
            decision = Decision(
                query=int(episode.queries[row]),
                chosen=int(episode.exemplars[chosen[row], 0]),
                right=int(episode.exemplars[row, 0]),
                chosen_distance=float(distances[row, chosen[row]]),
                right_distance=float(distances[row, row]),
            )
            if not decision.hit:
                misses.setdefault((decision.query, decision.chosen), decision)
        # One an episode, so that the hits are not all of one group.
        row = int(episode.queries[0]) % protocol.way
        if chosen[row] == row:
            hits.append(
                Decision(
                    int(episode.queries[row]),
                    int(episode.exemplars[row, 0]),
                    int(episode.exemplars[row, 0]),
                    float(distances[row, row]),
                    float(distances[row, row]),
                )
            )
    worst = sorted(misses.values(), key=lambda miss: miss.chosen_distance - miss.right_distance)
    return hits[:count], worst[:count]
