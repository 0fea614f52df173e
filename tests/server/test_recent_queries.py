"""Which latest queries are said to be another kind of picture than the exemplars, and which are not."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from exemplar_encoder.arrays import Floats
from exemplar_encoder.kinds_of_picture import OTHER_KIND, Cloud
from exemplar_server.recent_queries import OtherKindOfPicture, RecentQueries
from exemplar_server.store import Gallery
from tests.calibrations import made_up

CREATED = datetime(2026, 1, 1, tzinfo=UTC)
GALLERY = Gallery("g", "", "m", 32, 7, 20, None, None, CREATED, CREATED)


def drawn(seed: int, count: int, toward: float = 0.0) -> Floats:
    x = np.random.default_rng(seed).normal(size=(count, 32))
    x[:, 0] += toward * np.sqrt(32)
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


ICONS = Cloud.of(drawn(0, 20))
PHOTOGRAPHS = drawn(1, 300, toward=1.0)
LIKE_ICONS = drawn(2, 300)


class Asked:
    """A gallery of icons and its latest queries, ten a request."""

    def __init__(self) -> None:
        self.recent = RecentQueries()

    def ask(self, queries: Floats, accepted: int = 0, nearest: int = 10, gallery: Gallery = GALLERY) -> None:
        """Ask `queries`, of which so many are accepted in each ten, and which have so many nearest classes."""
        for start in range(0, len(queries), 10):
            some = queries[start : start + 10]
            self.recent.add(
                gallery, some, [f"c{place % nearest}" for place in range(len(some))], len(some) - accepted
            )

    def finding(self, gallery: Gallery = GALLERY, classes: Cloud = ICONS) -> OtherKindOfPicture | None:
        return self.recent.finding(gallery, classes)


def test_photographs_asked_of_icons_are_another_kind_with_the_evidence() -> None:
    asked = Asked()
    asked.ask(PHOTOGRAPHS[:30], accepted=1)
    found = asked.finding()
    assert found is not None
    assert (found.recent_queries, found.unknown_queries) == (30, 27)
    assert OTHER_KIND <= found.shift <= 1
    assert "27 of the latest 30 were UNKNOWN" in found.message
    assert "max_exemplars_per_class of the gallery is 1" in found.message


def test_where_the_gallery_allows_five_exemplars_nothing_is_said_of_allowing_them() -> None:
    roomy, asked = dataclasses.replace(GALLERY, max_exemplars_per_class=5), Asked()
    asked.ask(PHOTOGRAPHS[:30])
    found = asked.finding(roomy)
    assert found is not None
    assert "max_exemplars" not in found.message


def test_strangers_of_the_exemplars_own_kind_are_not() -> None:
    asked = Asked()
    for start in range(0, 300, 10):
        asked.ask(LIKE_ICONS[start : start + 10])
        assert asked.finding() is None


@pytest.mark.parametrize(("count", "told"), [(19, False), (20, True)])
def test_fewer_queries_than_twenty_prove_nothing(count: int, told: bool) -> None:
    asked = Asked()
    asked.ask(PHOTOGRAPHS[:count])
    assert (asked.finding() is not None) is told


@pytest.mark.parametrize(("accepted", "told"), [(1, True), (2, False)])
def test_where_queries_are_accepted_there_is_nothing_to_explain(accepted: int, told: bool) -> None:
    asked = Asked()
    asked.ask(PHOTOGRAPHS[:60], accepted)
    assert (asked.finding() is not None) is told


@pytest.mark.parametrize(("nearest", "told"), [(1, False), (2, False), (10, True)])
def test_one_thing_asked_over_and_over_is_no_evidence(nearest: int, told: bool) -> None:
    asked = Asked()
    asked.ask(PHOTOGRAPHS[:60], nearest=nearest)
    assert (asked.finding() is not None) is told


@pytest.mark.parametrize(("classes", "told"), [(4, False), (5, True)])
def test_a_gallery_of_four_classes_shows_too_little_of_their_kind(classes: int, told: bool) -> None:
    small, asked = dataclasses.replace(GALLERY, class_count=classes), Asked()
    asked.ask(PHOTOGRAPHS[:60], nearest=classes)
    assert (asked.finding(small, Cloud.of(drawn(0, classes))) is not None) is told


def test_only_the_latest_queries_count() -> None:
    asked = Asked()
    asked.ask(PHOTOGRAPHS)
    found = asked.finding()
    assert found is not None
    assert 64 <= found.recent_queries < 148
    asked.ask(LIKE_ICONS[:140])
    assert asked.finding() is None


def test_it_ends_as_soon_as_the_exemplars_are_of_the_queries_kind() -> None:
    asked = Asked()
    asked.ask(PHOTOGRAPHS[:60])
    assert asked.finding(classes=Cloud.of(drawn(3, 20, toward=1.0))) is None


def test_another_calibration_or_another_gallery_of_that_id_begins_anew() -> None:
    asked = Asked()
    asked.ask(PHOTOGRAPHS[:60])
    for other in (
        dataclasses.replace(GALLERY, calibration=made_up()),
        dataclasses.replace(GALLERY, create_time=CREATED + timedelta(seconds=1)),
        dataclasses.replace(GALLERY, id="other"),
    ):
        assert asked.finding(other) is None
    later = dataclasses.replace(GALLERY, revision=8, update_time=CREATED + timedelta(seconds=1))
    assert asked.finding(later) is not None
    recalibrated = dataclasses.replace(GALLERY, calibration=made_up())
    asked.ask(PHOTOGRAPHS[:10], gallery=recalibrated)
    assert asked.finding(recalibrated) is None
    assert asked.finding() is None
