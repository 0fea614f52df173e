"""From a base network and classes to judge it by to a bundle: measure, calibrate, report, export."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from exemplar_trainer.calibration.from_held_out import fit_spaces, pair_distances
from exemplar_trainer.calibration.observations import GALLERIES
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.evaluation.accuracy import Accuracy, measure
from exemplar_trainer.evaluation.episodes import EpisodeError, Protocol
from exemplar_trainer.evaluation.open_set import OpenSet
from exemplar_trainer.evaluation.spaces import Space, draw_in
from exemplar_trainer.evaluation.tasks import Task
from exemplar_trainer.reports.bundle import Findings, render_report
from exemplar_trainer.reports.contact_sheet import draw_named_queries

EPISODES = 400

_BACKGROUND_CLASSES = 512

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
        judged_on: the classes that it is measured and calibrated on, and what is known of its training on them, in
            words.
        facts: rows for the report, name and value.
        training: free facts for the manifest.
        records: the log of its training.
        seed: of the draw of background classes.
    """

    name: str
    recipe: str
    preprocessing: Preprocessing
    judged_on: str
    facts: Sequence[tuple[str, str]]
    training: dict[str, Any]
    records: Sequence[dict[str, Any]] = field(default=())
    seed: int = 0


def make_bundle(
    network: Network,
    origin: Origin,
    judging: ImageSet,
    strangers: ImageSet,
    target: Path,
    measured: Network | None = None,
    spaces: Sequence[Space] = (),
) -> Bundle:
    """Measure a network and export it.

    Args:
        network: the base network.
        origin: where it comes from.
        judging: classes to measure and calibrate with, none of which it was trained on here.
        strangers: other classes, to fill galleries up with while it is calibrated; those among `judging` are left
            out.
        target: the bundle's folder.
        measured: the network to measure and calibrate with, where `network` itself has seen these classes.
        spaces: embeddings to measure and calibrate with, where these are not the network's own, or are there already.

    Raises:
        BundleError: see `export_bundle`.
    """
    judged = measured or network
    spaces = spaces or [Space(judged.embed(judging.pixels), judging)]
    accuracies = [(protocol, measure(embeddings, tasks)) for protocol, embeddings, tasks in episodes(spaces)]
    background = _background(judged, strangers, judging, origin.seed)
    number = -(-GALLERIES // len(spaces))
    calibration = fit_spaces(spaces, origin.judged_on, background=background, number=number)
    check = check_calibration(spaces, background=background, number=number)
    pairs = [pair_distances(space.embeddings, space.images) for space in spaces]
    genuine, impostor = (np.concatenate(distances) for distances in zip(*pairs, strict=True))
    shown = _as_in(judging, spaces[0].images)
    protocol, *_ = next(episodes(spaces[:1]))
    hits, misses = draw_named_queries(spaces[0].embeddings, shown, protocol, 24, seed=1)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    report = render_report(
        Findings(
            title=f"{origin.name} (recipe {origin.recipe})",
            lead=_SEEN_SINCE if measured else f"Measured on {origin.judged_on}; every query decided on its own.",
            facts=[("made", created), *origin.facts],
            accuracies=[(protocol.name, accuracy) for protocol, accuracy in accuracies],
            by_group=_by_group(spaces),
            calibration=calibration,
            check=check,
            genuine=genuine,
            impostor=impostor,
            records=origin.records,
            held_out=shown,
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


def episodes(spaces: Sequence[Space]) -> Iterator[tuple[Protocol, Floats, list[Task]]]:
    """Yield every protocol that the classes can supply, with its episodes as `draw_in` returns them.

    A small set gets the largest that it has.
    """
    supplied = False
    for protocol in PROTOCOLS:
        try:
            drawn = draw_in(spaces, protocol, EPISODES, seed=0)
        except EpisodeError:  # too few classes or images for this one; the next may do
            continue
        supplied = True
        yield protocol, *drawn
    if not supplied:
        protocol = Protocol(min(5, *(len(space.images.class_names) for space in spaces)))
        yield protocol, *draw_in(spaces, protocol, EPISODES, seed=0)


def _by_group(spaces: Sequence[Space]) -> list[tuple[str, Accuracy]]:
    groups = sorted({group for space in spaces for group in space.images.groups})
    rows = []
    for group in groups if len(groups) >= 2 else ():
        held = [(space, space.images.classes_by_group.get(group, ())) for space in spaces]
        inside = [space.only(list(classes)) for space, classes in held if len(classes) >= 2]
        if inside:
            way = min(20, *(len(space.images.class_names) for space in inside))
            protocol = Protocol(way, 1, within_group=bool(group))
            accuracy = measure(*draw_in(inside, protocol, 100, seed=0))
            rows.append((f"{group or '(no group)'}, {protocol.way}-way", accuracy))
    return rows


def _as_in(judging: ImageSet, images: ImageSet) -> ImageSet:
    """Return a set of some of the classes with their pixels."""
    names = set(images.class_names)
    kept = [label for label, name in enumerate(judging.class_names) if name in names]
    return judging if len(kept) == len(judging.class_names) else judging.only(kept)


def _background(network: Network, strangers: ImageSet, judging: ImageSet, seed: int) -> Floats | None:
    """Embed one image of each of some classes that are not among those that judge; None where there are no others."""
    others = [label for label, name in enumerate(strangers.class_names) if name not in judging.class_names]
    if not others:
        return None
    firsts = np.array([strangers.members[label][0] for label in others])
    rng = np.random.default_rng([seed, 5])
    chosen = np.sort(rng.permutation(firsts)[:_BACKGROUND_CLASSES])
    return network.embed(strangers.pixels[chosen])
