"""What the demonstration asks a running server, and what it counts."""

from __future__ import annotations

import random
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from demo.characters import Character
from exemplar import Classification, Client, Enrollment, ExemplarError, ItemError, Verdict

WAY = 20


@dataclass(frozen=True)
class Answer:
    """A query, what it shows (None: a class that is not enrolled), and what the server said."""

    query: Path
    truth: Character | None
    answer: Classification

    @property
    def right(self) -> bool:
        """Whether the nearest class is the true one, whatever the verdict."""
        return self.truth is not None and self.answer.matches[0].class_id == self.truth.class_id


@dataclass(frozen=True)
class Latency:
    """Milliseconds for one image a call, one call at a time."""

    median: float
    p95: float
    calls: int


def ask(client: Client, gallery: str, pairs: Sequence[tuple[Path, Character | None]]) -> list[Answer]:
    """Classify many images; an image that the server refuses ends the demonstration with its error."""
    answers = []
    results = client.classify_many(gallery, [query for query, _ in pairs])
    for (query, truth), result in zip(pairs, results, strict=True):
        if isinstance(result, ItemError):
            raise ExemplarError(f"{query}: {result.message}")
        answers.append(Answer(query, truth, result))
    return answers


def queries_of(characters: Sequence[Character]) -> list[tuple[Path, Character | None]]:
    """Every other drawer's image of every character."""
    return [(query, character) for character in characters for query in character.queries]


def within_alphabet(client: Client, characters: Sequence[Character]) -> dict[str, list[Answer]]:
    """20-way answers for each alphabet that has 20 characters: a gallery of 20, asked about other drawers' images."""
    found: dict[str, list[Answer]] = {}
    for alphabet, members in _by_alphabet(characters).items():
        if len(members) < WAY:
            continue
        chosen = random.Random(0).sample(members, WAY)
        gallery = f"way20-{len(found)}"
        _enroll(client, gallery, chosen)
        found[alphabet] = ask(client, gallery, queries_of(chosen))
    return found


def half_enrolled(client: Client, characters: Sequence[Character]) -> list[Answer]:
    """Answers where every second character is enrolled and as many queries show characters that are not."""
    enrolled, strangers = characters[::2], characters[1::2]
    _enroll(client, "half", enrolled)
    unknown: list[tuple[Path, Character | None]] = [(query, None) for query, _ in queries_of(strangers)]
    return ask(client, "half", queries_of(enrolled)) + ask(client, "half", unknown)


def latency(client: Client, gallery: str, queries: Sequence[Path], calls: int = 200) -> Latency:
    """Time single calls."""
    images = [query.read_bytes() for query in queries[:calls]]
    for image in images[:10]:
        client.classify(gallery, image)
    milliseconds = []
    for image in images:
        started = time.perf_counter()
        client.classify(gallery, image)
        milliseconds.append(1000 * (time.perf_counter() - started))
    return Latency(statistics.median(milliseconds), statistics.quantiles(milliseconds, n=20)[-1], len(images))


def share(values: Iterator[bool]) -> float:
    """The share of true values; 0 of none."""
    listed = list(values)
    return sum(listed) / len(listed) if listed else 0.0


def accepted(answer: Answer) -> bool:
    """Whether the server gave it a name, or a choice of two."""
    return answer.answer.verdict is not Verdict.UNKNOWN


def _by_alphabet(characters: Sequence[Character]) -> dict[str, list[Character]]:
    found = defaultdict(list)
    for character in characters:
        found[character.alphabet].append(character)
    return found


def _enroll(client: Client, gallery: str, characters: Sequence[Character]) -> None:
    client.create_gallery(gallery)
    enrollments = [Enrollment(c.class_id, c.exemplar, display_name=c.display_name) for c in characters]
    for result in client.enroll_many(gallery, enrollments):
        if isinstance(result, ItemError):
            raise ExemplarError(result.message)
