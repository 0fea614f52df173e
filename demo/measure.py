"""Questions that the demonstration asks a running server."""

from __future__ import annotations

import random
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from demo.characters import Character
from exemplar import Classification, Client, Enrollment, ExemplarError, Verdict

WAY = 20

_CALLS = 200

Query = tuple[Path, Character | None]
"""An image and the character it shows, or None for a character that is not enrolled."""


@dataclass(frozen=True)
class Answer:
    """A query, the character it shows (None: one that is not enrolled), and the server's answer."""

    query: Path
    truth: Character | None
    answer: Classification

    @property
    def right(self) -> bool:
        """Whether the nearest class is the true one, whatever the verdict."""
        return self.truth is not None and self.answer.matches[0].class_id == self.truth.class_id

    @property
    def accepted(self) -> bool:
        """Whether the server gave it a name, or a choice of two."""
        return self.answer.verdict is not Verdict.UNKNOWN


@dataclass(frozen=True)
class Latency:
    """Milliseconds for one image a call, one call at a time."""

    median: float
    p95: float
    calls: int


@dataclass(frozen=True)
class Measured:
    """All answers.

    Attributes:
        everything: to every query, with all characters enrolled.
        rate: images a second of those, in batches.
        by_alphabet: 20-way answers, for each alphabet that has 20 characters.
        latency: of single calls.
        half: with every second character enrolled, to queries of those and of the others.
    """

    everything: list[Answer]
    rate: float
    by_alphabet: dict[str, list[Answer]]
    latency: Latency
    half: list[Answer]

    @property
    def strangers(self) -> list[Answer]:
        """Those to queries of characters that were not enrolled."""
        return [answer for answer in self.half if answer.truth is None]


def measure(client: Client, gallery: str, characters: Sequence[Character]) -> Measured:
    """Ask everything.

    Args:
        client: connected to the server.
        gallery: the gallery that holds all characters; others are made.
        characters: with their queries.
    """
    queries = queries_of(characters)
    began = time.monotonic()
    everything = ask(client, gallery, queries)
    rate = len(queries) / (time.monotonic() - began)
    return Measured(
        everything,
        rate,
        _within_alphabet(client, characters),
        _latency(client, gallery, [query for query, _ in queries[:_CALLS]]),
        _half_enrolled(client, characters),
    )


def queries_of(characters: Sequence[Character]) -> list[Query]:
    """Return every image but the exemplar of every character."""
    return [(query, character) for character in characters for query in character.queries]


def ask(client: Client, gallery: str, queries: Sequence[Query]) -> list[Answer]:
    """Classify many images; an image that the server refuses ends the demonstration with its error."""
    answers = []
    results = client.classify_many(gallery, [query for query, _ in queries])
    for (query, truth), result in zip(queries, results, strict=True):
        if isinstance(result, ExemplarError):
            raise ExemplarError(f"{query}: {result.message}")
        answers.append(Answer(query, truth, result))
    return answers


def _within_alphabet(client: Client, characters: Sequence[Character]) -> dict[str, list[Answer]]:
    by_alphabet = defaultdict(list)
    for character in characters:
        by_alphabet[character.alphabet].append(character)
    found: dict[str, list[Answer]] = {}
    for alphabet, members in by_alphabet.items():
        if len(members) < WAY:
            continue
        chosen = random.Random(0).sample(members, WAY)
        gallery = f"way{WAY}-{len(found)}"
        _enroll(client, gallery, chosen)
        found[alphabet] = ask(client, gallery, queries_of(chosen))
    return found


def _half_enrolled(client: Client, characters: Sequence[Character]) -> list[Answer]:
    enrolled, strangers = characters[::2], characters[1::2]
    _enroll(client, "half", enrolled)
    unknown: list[Query] = [(query, None) for query, _ in queries_of(strangers)]
    return ask(client, "half", queries_of(enrolled)) + ask(client, "half", unknown)


def _latency(client: Client, gallery: str, queries: Sequence[Path]) -> Latency:
    images = [query.read_bytes() for query in queries]
    for image in images[:10]:
        client.classify(gallery, image)
    milliseconds = []
    for image in images:
        started = time.perf_counter()
        client.classify(gallery, image)
        milliseconds.append(1000 * (time.perf_counter() - started))
    return Latency(statistics.median(milliseconds), statistics.quantiles(milliseconds, n=20)[-1], len(images))


def _enroll(client: Client, gallery: str, characters: Sequence[Character]) -> None:
    client.create_gallery(gallery)
    enrollments = [Enrollment(c.class_id, c.exemplar, display_name=c.display_name) for c in characters]
    for result in client.enroll_many(gallery, enrollments):
        if isinstance(result, ExemplarError):
            raise result
