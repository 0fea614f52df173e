"""Hits and misses are those of the episodes, the worst miss first."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from exemplar_trainer.evaluation.episodes import Protocol
from exemplar_trainer.reports.contact_sheet import card_of, draw_named_queries, thumbnail_uri
from tests.trainer.synthetic_sets import gaussian_embeddings, synthetic_set

IMAGES = synthetic_set({"A": 8, "B": 8})
EMBEDDINGS = gaussian_embeddings(IMAGES, spread=1.5)
HITS, MISSES = draw_named_queries(EMBEDDINGS, IMAGES, Protocol(5), 10, seed=0)


def test_a_query_is_a_hit_where_its_own_class_is_the_nearest() -> None:
    assert HITS
    assert MISSES
    for named in [*HITS, *MISSES]:
        assert IMAGES.labels[named.query] == IMAGES.labels[named.right]
        assert named.hit == (IMAGES.labels[named.query] == IMAGES.labels[named.chosen])
        assert named.chosen_distance <= named.right_distance
        for exemplar, distance in ((named.chosen, named.chosen_distance), (named.right, named.right_distance)):
            apart = float(np.linalg.norm(EMBEDDINGS[named.query] - EMBEDDINGS[exemplar]))
            assert abs(apart - distance) < 1e-5
    assert {named.hit for named in HITS} == {True}
    assert {named.hit for named in MISSES} == {False}


def test_the_worst_miss_comes_first_and_none_twice() -> None:
    margins = [named.right_distance - named.chosen_distance for named in MISSES]
    assert margins == sorted(margins, reverse=True)
    assert len({(named.query, named.chosen) for named in MISSES}) == len(MISSES)


def test_a_miss_shows_its_own_class_too() -> None:
    assert [picture.words.split("\n")[0] for picture in card_of(IMAGES, HITS[0]).pictures] == ["query", "taken for"]
    shown = card_of(IMAGES, MISSES[0]).pictures
    assert [picture.words.split("\n")[0] for picture in shown] == ["query", "taken for", "is"]
    assert shown[2].name == IMAGES.paths[MISSES[0].right]


def test_a_thumbnail_is_the_image_in_gray_and_in_color() -> None:
    rng = np.random.default_rng(0)
    for channels in (1, 3):
        pixels = rng.integers(0, 256, (16, 12, channels), dtype=np.uint8)
        content = base64.b64decode(thumbnail_uri(pixels).removeprefix("data:image/png;base64,"))
        shown = np.asarray(Image.open(io.BytesIO(content))).reshape(16, 12, channels)
        assert (shown == pixels).all()
