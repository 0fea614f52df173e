"""From a base network and classes it never saw to a bundle: measure, calibrate, report, export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from exemplar_encoder import Bundle, Figure, Manifest, Preprocessing
from exemplar_encoder.arrays import Floats
from exemplar_trainer.bundles.network import Network
from exemplar_trainer.bundles.write import export_bundle
from exemplar_trainer.calibration.check import check_calibration
from exemplar_trainer.calibration.from_held_out import fit_calibration, pair_distances
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.evaluation.accuracy import Accuracy, measure
from exemplar_trainer.evaluation.episodes import EpisodeError, Protocol, draw_episodes
from exemplar_trainer.evaluation.open_set import OpenSet
from exemplar_trainer.reports.bundle import Findings, render_report
from exemplar_trainer.reports.contact_sheet import draw_named_queries

EPISODES = 400

_BACKGROUND_CLASSES = 512

_UNSEEN = "Measured on classes that training never saw; every query decided on its own."
_SEEN_SINCE = (
    "Measured with a network of the same recipe on classes that its training never saw; every query decided on its "
    "own. The network of this bundle was then trained on all classes, these too."
)

PROTOCOLS = (
    Protocol(20, 1, within_group=True),
    Protocol(5, 1, within_group=True),
    Protocol(20, 1),
    Protocol(5, 1),
    Protocol(20, 2, within_group=True),
    Protocol(20, 5, within_group=True),
)


@dataclass(frozen=True)
class Origin:
    """Says where a network comes from.

    Attributes:
        name: the bundle's.
        recipe: the recipe's name, or another word for how the network was made.
        preprocessing: the network's input.
        facts: rows for the report, name and value.
        training: free facts for the manifest.
        records: the log of its training.
        seed: of the draw of background classes.
    """

    name: str
    recipe: str
    preprocessing: Preprocessing
    facts: Sequence[tuple[str, str]]
    training: dict[str, Any]
    records: Sequence[dict[str, Any]] = field(default=())
    seed: int = 0


def make_bundle(
    network: Network,
    origin: Origin,
    unseen: ImageSet,
    strangers: ImageSet,
    target: Path,
    measured: Network | None = None,
) -> Bundle:
    """Measure a network and export it.

    Args:
        network: the base network.
        origin: where it comes from.
        unseen: classes it was not trained on, to measure and calibrate with.
        strangers: other classes, to fill galleries up with while it is calibrated; those among `unseen` are left out.
        target: the bundle's folder.
        measured: the network to measure and calibrate with, where `network` itself has seen these classes.

    Raises:
        BundleError: see `export_bundle`.
    """
    judged = measured or network
    embeddings = judged.embed(unseen.pixels)
    accuracies = _accuracies(embeddings, unseen)
    background = _background(judged, strangers, unseen, origin.seed)
    calibration = fit_calibration(embeddings, unseen, background=background)
    check = check_calibration(embeddings, unseen, background=background)
    genuine, impostor = pair_distances(embeddings, unseen)
    hits, misses = draw_named_queries(embeddings, unseen, accuracies[0][0], 24, seed=1)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    report = render_report(
        Findings(
            title=f"{origin.name} (recipe {origin.recipe})",
            lead=_UNSEEN if measured is None else _SEEN_SINCE,
            facts=[("made", created), *origin.facts],
            accuracies=[(protocol.name, accuracy) for protocol, accuracy in accuracies],
            by_group=_by_group(embeddings, unseen),
            calibration=calibration,
            check=check,
            genuine=genuine,
            impostor=impostor,
            records=origin.records,
            held_out=unseen,
            hits=hits,
            misses=misses,
        )
    )
    manifest = Manifest(
        name=origin.name,
        recipe=origin.recipe,
        created=created,
        dimension=network.dimension,
        preprocessing=origin.preprocessing,
        figures=_figures(accuracies, check.open_set),
        training=origin.training,
    )
    return export_bundle(network, manifest, calibration, report, target)


def _figures(accuracies: Sequence[tuple[Protocol, Accuracy]], judged: OpenSet) -> tuple[Figure, ...]:
    rates = zip(judged.asked, judged.realized, strict=True)
    return (
        *(Figure(f"{protocol.name} accuracy", a.value, a.low, a.high) for protocol, a in accuracies),
        Figure("expected calibration error", judged.calibration_error),
        Figure("AUROC, known against unknown", judged.auroc),
        Figure("unknown accepted where 95 % of known are", judged.false_positives),
        Figure("OSCR", judged.oscr),
        *(Figure(f"realized false-accept rate at {asked:.0%}", realized) for asked, realized in rates),
    )


def _accuracies(embeddings: Floats, unseen: ImageSet) -> list[tuple[Protocol, Accuracy]]:
    """Measure by every protocol that the classes can supply; a small set gets the largest episodes it has."""
    found = []
    for protocol in PROTOCOLS:
        try:
            found.append((protocol, _measure(embeddings, unseen, protocol)))
        except EpisodeError:  # too few classes or images for this one; the next may do
            continue
    if not found:
        protocol = Protocol(min(5, len(unseen.class_names)))
        found.append((protocol, _measure(embeddings, unseen, protocol)))
    return found


def _by_group(embeddings: Floats, unseen: ImageSet) -> list[tuple[str, Accuracy]]:
    rows = []
    for group, classes in unseen.classes_by_group.items():
        if len(unseen.classes_by_group) < 2 or len(classes) < 2:
            continue
        inside = np.flatnonzero(np.isin(unseen.labels, classes))
        protocol = Protocol(min(20, len(classes)), 1, within_group=bool(group))
        accuracy = _measure(embeddings[inside], unseen.only(classes.tolist()), protocol, episodes=100)
        rows.append((f"{group or '(no group)'}, {protocol.way}-way", accuracy))
    return rows


def _measure(embeddings: Floats, images: ImageSet, protocol: Protocol, episodes: int = EPISODES) -> Accuracy:
    return measure(embeddings, draw_episodes(images, protocol, episodes, seed=0))


def _background(network: Network, strangers: ImageSet, unseen: ImageSet, seed: int) -> Floats | None:
    """Embed one image of each of some classes that are not among the unseen ones; None where there are no others."""
    others = [label for label, name in enumerate(strangers.class_names) if name not in unseen.class_names]
    if not others:
        return None
    firsts = np.array([strangers.members[label][0] for label in others])
    rng = np.random.default_rng([seed, 5])
    chosen = np.sort(rng.permutation(firsts)[:_BACKGROUND_CLASSES])
    return network.embed(strangers.pixels[chosen])
