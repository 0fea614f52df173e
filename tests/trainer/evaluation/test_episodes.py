"""Episodes are what the field means by the word, and their accuracy is right."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from exemplar_encoder.arrays import Floats
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.evaluation.accuracy import Accuracy, answer, measure
from exemplar_trainer.evaluation.distances import pairwise_distances
from exemplar_trainer.evaluation.episodes import EpisodeError, Protocol, draw_episodes
from tests.trainer.synthetic_sets import gaussian_embeddings, synthetic_set

SET = synthetic_set({"A": 8, "B": 6, "C": 12}, images_per_class=7)
EMBEDDINGS = gaussian_embeddings(SET, spread=1.0)
PROTOCOLS = [Protocol(5), Protocol(20), Protocol(5, within_group=True), Protocol(6, 3, within_group=True)]


def accuracy(embeddings: Floats, protocol: Protocol, count: int, seed: int) -> Accuracy:
    return measure(embeddings, draw_episodes(SET, protocol, count, seed))


def accuracy_by_hand(embeddings: Floats, images: ImageSet, protocol: Protocol, count: int, seed: int) -> float:
    """Name each query by the exemplar that a loop over plain floats finds nearest."""
    right = asked = 0
    for episode in draw_episodes(images, protocol, count, seed):
        for query in episode.queries:
            nearest, chosen = math.inf, -1
            for exemplars in episode.exemplars:
                mean = [sum(column) / len(exemplars) for column in zip(*embeddings[exemplars].tolist(), strict=True)]
                length = math.hypot(*mean)
                distance = math.dist(embeddings[query].tolist(), [value / length for value in mean])
                if distance < nearest:
                    nearest, chosen = distance, images.labels[exemplars[0]]
            right += chosen == images.labels[query]
            asked += 1
    return right / asked


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: p.name)
def test_the_accuracy_is_the_one_that_loops_find(protocol: Protocol) -> None:
    found = accuracy(EMBEDDINGS, protocol, 40, seed=3)
    assert 0.2 < found.value < 1
    assert found.value == pytest.approx(accuracy_by_hand(EMBEDDINGS, SET, protocol, 40, seed=3), abs=1e-9)
    assert (found.tasks, found.queries) == (40, 40 * protocol.way)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: p.name)
def test_an_episode_holds_its_classes_once_with_a_query_each(protocol: Protocol) -> None:
    for episode in draw_episodes(SET, protocol, 50, seed=0):
        assert episode.exemplars.shape == (protocol.way, protocol.shot)
        classes = SET.labels[episode.queries]
        assert len(set(classes.tolist())) == protocol.way
        assert (SET.labels[episode.exemplars] == classes[:, None]).all()
        assert not set(episode.queries.tolist()) & set(episode.exemplars.ravel().tolist())


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: p.name)
def test_exemplars_and_queries_are_of_different_sources_and_each_of_one(protocol: Protocol) -> None:
    sources = np.array(SET.sources)
    for episode in draw_episodes(SET, protocol, 50, seed=0):
        (queried,) = set(sources[episode.queries])
        shown = [set(column) for column in sources[episode.exemplars].T]
        assert all(len(column) == 1 for column in shown)
        assert queried not in set().union(*shown)


def test_episodes_within_a_group_stay_in_it_and_reach_every_group_that_is_large_enough() -> None:
    groups: list[str] = []
    for episode in draw_episodes(SET, Protocol(7, within_group=True), 50, seed=0):
        found = {SET.groups[label] for label in SET.labels[episode.queries]}
        assert len(found) == 1
        groups.extend(found)
    assert set(groups) == {"A", "C"}  # B has six classes


def test_unstructured_episodes_mix_groups_and_reach_every_class() -> None:
    episodes = draw_episodes(SET, Protocol(20), 20, seed=0)
    assert all(len({SET.groups[label] for label in SET.labels[episode.queries]}) == 3 for episode in episodes)
    assert {int(label) for episode in episodes for label in SET.labels[episode.queries]} == set(range(26))


def test_the_same_seed_draws_the_same_episodes_whatever_the_embeddings() -> None:
    def drawn(seed: int) -> list[list[int]]:
        return [episode.queries.tolist() for episode in draw_episodes(SET, Protocol(5), 10, seed)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_images_without_shared_sources_still_make_episodes_of_different_images() -> None:
    images = synthetic_set({"": 6}, images_per_class=2, shared_sources=False)
    for episode in draw_episodes(images, Protocol(6), 50, seed=0):
        assert (episode.exemplars[:, 0] != episode.queries).all()
        assert (images.labels[episode.exemplars[:, 0]] == images.labels[episode.queries]).all()


@pytest.mark.parametrize("shot", [1, 2])
def test_without_a_shared_source_a_query_is_by_another_than_its_exemplars_where_the_class_has_one(shot: int) -> None:
    images = synthetic_set({"": 4}, images_per_class=4, shared_sources=False)
    # By two hands; mostly by one; all by one; each by its own.
    images = dataclasses.replace(images, sources=(*"aabb", *"cccd", *"eeee", *"fghi"))
    rows: dict[int, list[bool]] = {label: [] for label in range(4)}
    for episode in draw_episodes(images, Protocol(4, shot), 100, seed=0):
        for exemplars, query in zip(episode.exemplars, episode.queries, strict=True):
            assert len({query, *exemplars}) == shot + 1
            assert set(images.labels[exemplars]) == {images.labels[query]}
            shown = {images.sources[image] for image in exemplars}
            rows[int(images.labels[query])].append(images.sources[query] in shown)
    assert [sum(same) for same in rows.values()] == [0, 0, 100, 0]


def test_a_set_without_groups_has_no_episodes_within_groups() -> None:
    images = synthetic_set({"": 30})
    with pytest.raises(EpisodeError, match="need a group of 5 classes; the largest has 0"):
        draw_episodes(images, Protocol(5, within_group=True), 1, seed=0)
    assert draw_episodes(images, Protocol(5), 1, seed=0)


def test_too_few_classes_or_images_are_refused_in_a_sentence() -> None:
    with pytest.raises(EpisodeError, match="need 27 classes; here are 26"):
        draw_episodes(SET, Protocol(27), 1, seed=0)
    with pytest.raises(EpisodeError, match="need a group of 13 classes; the largest has 12"):
        draw_episodes(SET, Protocol(13, within_group=True), 1, seed=0)
    with pytest.raises(EpisodeError, match="need 8 images of each class, one of them to ask; too few are of A/c000"):
        draw_episodes(SET, Protocol(5, 7), 1, seed=0)


def test_several_exemplars_are_one_renormalized_mean() -> None:
    images = synthetic_set({"": 2}, images_per_class=3)
    angles = np.radians([0, 80, 41, 170, 190, 181])
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    episode = next(
        episode
        for episode in draw_episodes(images, Protocol(2, 2), 50, seed=0)
        if images.sources[episode.queries[0]] == "002"
    )
    answers = answer(embeddings, episode)
    order = np.argsort(images.labels[episode.queries])
    degrees = np.array([[1, 139], [141, 1]])  # queries at 41 and 181 from the means at 40 and 180
    expected = 2 * np.sin(np.radians(degrees) / 2)
    assert answers.distances[np.ix_(order, order)] == pytest.approx(expected, abs=1e-3)
    assert answers.chosen.tolist() == [0, 1]


def test_perfect_embeddings_are_always_right_and_meaningless_ones_are_at_chance() -> None:
    perfect = np.eye(26, dtype=np.float32)[SET.labels]
    assert accuracy(perfect, Protocol(20), 50, seed=0).value == 1.0
    noise = gaussian_embeddings(SET, spread=1000.0)
    assert accuracy(noise, Protocol(20), 400, seed=0).value == pytest.approx(1 / 20, abs=0.03)


def test_the_interval_covers_the_accuracy_of_other_draws() -> None:
    truth = accuracy(EMBEDDINGS, Protocol(5), 5000, seed=99).value
    found = [accuracy(EMBEDDINGS, Protocol(5), 100, seed) for seed in range(100)]
    inside = [one.low <= truth <= one.high for one in found]
    assert 0.88 <= np.mean(inside) <= 1.0
    assert all(0.01 < one.high - one.low < 0.15 for one in found)


def test_distances_of_unit_vectors_are_euclidean_and_never_nan() -> None:
    found = pairwise_distances(EMBEDDINGS[:20], EMBEDDINGS[:30])
    expected = [[math.dist(a.tolist(), b.tolist()) for b in EMBEDDINGS[:30]] for a in EMBEDDINGS[:20]]
    assert found == pytest.approx(np.array(expected), abs=1e-3)
    assert np.isfinite(found).all()
