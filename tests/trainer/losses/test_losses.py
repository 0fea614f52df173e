"""Each loss, derived a second time from its paper's formula with plain loops."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from exemplar_encoder.arrays import Floats, Ints
from exemplar_trainer.losses import LOSSES, PAIR_LOSSES
from exemplar_trainer.losses.contrastive import Contrastive
from exemplar_trainer.losses.contrastive_head import ContrastiveHead
from exemplar_trainer.losses.lifted import LiftedStructured
from exemplar_trainer.losses.multi_similarity import MultiSimilarity
from exemplar_trainer.losses.nca import NCA
from exemplar_trainer.losses.nca_cosface import NCACosFace
from exemplar_trainer.losses.supcon import SupervisedContrastive
from exemplar_trainer.losses.triplet import BatchHardTriplet

LABELS = np.array([0, 0, 1, 1, 1, 2, 2, 3])


def units(count: int, dimension: int = 5, seed: int = 0) -> Floats:
    vectors = np.random.default_rng(seed).normal(size=(count, dimension))
    unit: Floats = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def value_and_gradient(layer: keras.layers.Layer, embeddings: Floats, labels: Ints) -> tuple[float, Floats]:
    variable = tf.Variable(embeddings)
    with tf.GradientTape() as tape:
        loss = layer(variable, tf.constant(labels))
    assert loss.shape == ()
    return float(loss), tape.gradient(loss, variable).numpy()


def distance(a: Floats, b: Floats) -> float:
    return math.dist(a.astype(float).tolist(), b.astype(float).tolist())


# The formulas


def nca(e: Floats, labels: Ints, scale: float = 15.0) -> float:
    """Return the mean over i of -log sum_j exp(s x_i.x_j) [same class] / sum_k exp(s x_i.x_k); j, k not i."""
    losses = []
    for i in range(len(e)):
        weights = {j: math.exp(scale * float(np.dot(e[i].astype(float), e[j]))) for j in range(len(e)) if j != i}
        right = sum(weight for j, weight in weights.items() if labels[j] == labels[i])
        if any(labels[j] == labels[i] for j in weights):
            losses.append(-math.log(right / sum(weights.values())))
    return sum(losses) / len(losses) if losses else 0.0


def cosface(e: Floats, labels: Ints, directions: Floats, margin: float, scale: float) -> float:
    """Return the mean over i of -log e^{s (cos_y - m)} / (e^{s (cos_y - m)} + sum over others of e^{s cos_j})."""
    losses = []
    for i in range(len(e)):
        cosines = [float(np.dot(e[i], w) / np.linalg.norm(w)) for w in directions]
        own = math.exp(scale * (cosines[labels[i]] - margin))
        others = sum(math.exp(scale * c) for j, c in enumerate(cosines) if j != labels[i])
        losses.append(-math.log(own / (own + others)))
    return sum(losses) / len(losses)


def contrastive(pairs: list[tuple[float, bool]], margin: float) -> float:
    """Return the mean of d^2 for a pair of one class and max(margin - d, 0)^2 for a pair of two."""
    return sum(max(margin - d, 0.0) ** 2 if different else d * d for d, different in pairs) / len(pairs)


def batch_hard(e: Floats, labels: Ints, sharpness: float) -> float:
    """Return the mean over anchors of log(1 + exp(s (farthest positive - nearest negative)))."""
    losses = []
    for i in range(len(e)):
        positives = [distance(e[i], e[j]) for j in range(len(e)) if j != i and labels[j] == labels[i]]
        negatives = [distance(e[i], e[j]) for j in range(len(e)) if labels[j] != labels[i]]
        if positives and negatives:
            losses.append(math.log1p(math.exp(sharpness * (max(positives) - min(negatives)))))
    return sum(losses) / len(losses) if losses else 0.0


def lifted(e: Floats, labels: Ints, margin: float) -> float:
    """Return 1 / 2|P| sum over positive pairs of max(0, J)^2.

    J_ij = log(sum_k e^(m - D_ik) + sum_l e^(m - D_jl)) + D_ij
    """
    total, count = 0.0, 0
    for i, j in itertools.combinations(range(len(e)), 2):
        if labels[i] != labels[j]:
            continue
        count += 1
        pushes = [
            math.exp(margin - distance(e[end], e[k]))
            for end in (i, j)
            for k in range(len(e))
            if labels[k] != labels[end]
        ]
        if pushes:
            total += max(0.0, math.log(sum(pushes)) + distance(e[i], e[j])) ** 2
    return total / (2 * count) if count else 0.0


def supcon(e: Floats, labels: Ints, scale: float) -> float:
    """Return the mean over i with positives of -1/|P_i| sum_p log(exp(s x_i.x_p) / sum_a exp(s x_i.x_a)); a not i."""
    losses = []
    for i in range(len(e)):
        weights = {j: math.exp(scale * float(np.dot(e[i].astype(float), e[j]))) for j in range(len(e)) if j != i}
        positives = [j for j in weights if labels[j] == labels[i]]
        if positives:
            losses.append(-sum(math.log(weights[p] / sum(weights.values())) for p in positives) / len(positives))
    return sum(losses) / len(losses) if losses else 0.0


def multi_similarity(e: Floats, labels: Ints, alpha: float, beta: float, base: float, epsilon: float) -> float:
    """Keep negatives above the least positive less epsilon, positives below the greatest negative plus epsilon."""
    losses = []
    for i in range(len(e)):
        cosines = {j: float(np.dot(e[i].astype(float), e[j])) for j in range(len(e)) if j != i}
        positives = [c for j, c in cosines.items() if labels[j] == labels[i]]
        negatives = [c for j, c in cosines.items() if labels[j] != labels[i]]
        near = [c for c in negatives if c > min(positives, default=math.inf) - epsilon]
        far = [c for c in positives if c < max(negatives, default=-math.inf) + epsilon]
        pull = math.log(1 + sum(math.exp(-alpha * (c - base)) for c in far)) / alpha
        push = math.log(1 + sum(math.exp(beta * (c - base)) for c in near)) / beta
        losses.append(pull + push)
    return sum(losses) / len(losses)


BATCH_LOSSES: dict[str, tuple[Callable[[], keras.layers.Layer], Callable[[Floats, Ints], float]]] = {
    "nca": (NCA, nca),
    "triplet": (BatchHardTriplet, lambda e, labels: batch_hard(e, labels, 10.0)),
    "supcon": (SupervisedContrastive, lambda e, labels: supcon(e, labels, 15.0)),
    "multi-similarity": (MultiSimilarity, lambda e, labels: multi_similarity(e, labels, 2.0, 50.0, 0.5, 0.1)),
    "lifted": (LiftedStructured, lambda e, labels: lifted(e, labels, 1.0)),
}


@pytest.mark.parametrize("name", BATCH_LOSSES)
@pytest.mark.parametrize("labels", [LABELS, np.repeat(np.arange(4), 2), np.array([3, 3, 3, 3, 7, 7, 7, 7])])
def test_a_batch_loss_is_its_formula(name: str, labels: Ints) -> None:
    layer, formula = BATCH_LOSSES[name]
    for seed in range(3):
        embeddings = units(8, seed=seed)
        loss, _ = value_and_gradient(layer(), embeddings, labels)
        assert loss == pytest.approx(formula(embeddings, labels), rel=1e-4)


def test_nca_still_pulls_on_a_positive_at_the_other_end_of_the_sphere() -> None:
    one, other, beside = np.eye(3, dtype=np.float32)[0], -np.eye(3, dtype=np.float32)[0], np.array([0.999, 0.0447, 0])
    embeddings = np.stack([one, other, beside.astype(np.float32), beside.astype(np.float32)])
    labels = np.array([0, 0, 1, 1])
    loss, _ = value_and_gradient(NCA(), embeddings, labels)
    assert loss == pytest.approx(nca(embeddings, labels), rel=1e-4)


def test_nca_cosface_is_the_sum_of_its_two_formulas() -> None:
    embeddings = units(8)
    layer = NCACosFace(4, weight=0.5, margin=0.2, scale=25.0)
    layer.build((None, 5))
    layer.directions.assign(np.random.default_rng(1).normal(size=(4, 5)) * 3)
    expected = nca(embeddings, LABELS) + 0.5 * cosface(embeddings, LABELS, layer.directions.numpy(), 0.2, 25.0)
    assert value_and_gradient(layer, embeddings, LABELS)[0] == pytest.approx(expected, rel=1e-4)


def test_cosface_does_not_push_a_class_from_its_own_other_orientations() -> None:
    embeddings = units(8)
    directions = np.random.default_rng(1).normal(size=(6, 5)).astype(np.float32)
    layer = NCACosFace(6, orientations=3, weight=1.0, margin=0.2, scale=25.0)
    layer.build((None, 5))
    layer.directions.assign(directions)
    labels = np.array([0, 1, 1, 2, 3, 3, 4, 5])
    total, _ = value_and_gradient(layer, embeddings, labels)
    each = []
    for row, label in enumerate(labels):
        rivals = [3, 4, 5] if label < 3 else [0, 1, 2]
        kept = directions[[label, *rivals]]
        each.append(cosface(embeddings[row : row + 1], np.array([0]), kept, 0.2, 25.0))
    assert total == pytest.approx(nca(embeddings, labels) + float(np.mean(each)), rel=1e-4)


def test_the_cosface_margin_asks_for_more_than_being_nearest() -> None:
    embeddings = np.eye(4, dtype=np.float32)
    labels = np.arange(4)
    losses = []
    for margin in (0.0, 0.2, 0.4):
        layer = NCACosFace(4, margin=margin)
        layer.build((None, 4))
        layer.directions.assign(np.eye(4))
        losses.append(value_and_gradient(layer, embeddings, labels)[0])
    assert losses == sorted(losses)
    assert losses[2] > losses[0]


def test_contrastive_is_its_formula_on_neighboring_rows() -> None:
    embeddings = units(8)
    labels = np.array([0, 0, 0, 1, 2, 2, 2, 3])
    pairs = [(distance(embeddings[2 * i], embeddings[2 * i + 1]), i % 2 == 1) for i in range(4)]
    loss, _ = value_and_gradient(Contrastive(), embeddings, labels)
    assert loss == pytest.approx(contrastive(pairs, 1.0), rel=1e-4)


def test_contrastive_leaves_classes_alone_that_are_farther_apart_than_the_margin() -> None:
    embeddings = np.array([[1, 0], [-1, 0]], dtype=np.float32)
    loss, gradient = value_and_gradient(Contrastive(), embeddings, np.array([0, 1]))
    assert loss == 0
    assert (gradient == 0).all()


def test_the_contrastive_head_is_a_sigmoid_of_the_weighted_difference() -> None:
    embeddings = units(8)
    labels = np.array([0, 0, 0, 1, 2, 2, 2, 3])
    layer = ContrastiveHead()
    layer.build((None, 5))
    value_and_gradient(layer, embeddings, labels)
    weights, bias = np.array([[0.5], [-1.0], [2.0], [0.3], [1.0]]), np.array([-0.4])
    layer.head.set_weights([weights, bias])
    pairs = []
    for i in range(4):
        logit = float(np.abs(embeddings[2 * i] - embeddings[2 * i + 1]) @ weights[:, 0] + bias[0])
        pairs.append((1 / (1 + math.exp(-logit)), i % 2 == 1))
    assert value_and_gradient(layer, embeddings, labels)[0] == pytest.approx(contrastive(pairs, 1.0), rel=1e-4)


# Awkward batches

AWKWARD = {
    "all embeddings coincide": (np.repeat(units(1), 8, axis=0), LABELS),
    "two rows coincide": (np.concatenate([units(7), units(7)[:1]]), LABELS),
    "every class has one member": (units(8), np.arange(8)),
    "one class only": (units(8), np.zeros(8, dtype=int)),
    "opposite ends": (np.repeat(np.array([[1, 0], [-1, 0]], np.float32), 4, axis=0), np.array([0, 1] * 4)),
    "labels far above the batch": (units(8), LABELS * 100),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("case", AWKWARD)
def test_every_loss_and_gradient_is_finite(name: str, case: str) -> None:
    embeddings, labels = AWKWARD[case]
    layer = LOSSES[name](400, 1)
    layer.build((None, embeddings.shape[1]))
    loss, gradient = value_and_gradient(layer, embeddings, labels)
    assert math.isfinite(loss)
    assert loss >= 0
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"contrastive-head"}))
def test_following_the_gradient_brings_classes_together(name: str) -> None:
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 0]) if name in PAIR_LOSSES else LABELS
    layer = LOSSES[name](4, 1)
    layer.build((None, 5))
    embeddings = units(8, seed=4)
    before, gradient = value_and_gradient(layer, embeddings, labels)
    stepped = embeddings - 0.02 * gradient / np.linalg.norm(gradient)
    stepped /= np.linalg.norm(stepped, axis=1, keepdims=True)
    assert value_and_gradient(layer, stepped.astype(np.float32), labels)[0] < before


def test_the_losses_that_need_pairs_are_losses() -> None:
    assert set(LOSSES) > PAIR_LOSSES
