"""Networks made elsewhere, served like one trained here, as they are or adapted to the user's pictures.

All images given measure and calibrate. Nobody here knows what such a network was trained on, so no figure is said to
be of classes that training never saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exemplar_encoder import Bundle, Preprocessing
from exemplar_trainer.bundles.adaptation import fit_adaptation, require_enough, unit
from exemplar_trainer.bundles.build import Origin, make_bundle
from exemplar_trainer.bundles.network import Network
from exemplar_trainer.bundles.write import refuse_other_folder
from exemplar_trainer.data.reading import OnCount, read_data_set, uncounted
from exemplar_trainer.data.wording import plural
from exemplar_trainer.evaluation.spaces import Space


def export_external(
    network: Network,
    made: str,
    spec: Preprocessing,
    data: Path,
    target: Path,
    name: str,
    max_unreadable: int = 20,
    on_image: OnCount = uncounted,
    adapt: bool = False,
) -> Bundle:
    """Measure and calibrate a base network on images of the user's, and make a bundle of it.

    Args:
        network: takes what `spec` describes.
        made: its origin, for people.
        spec: how images become its input.
        data: folder or zip of images, see `read_data_set`.
        target: the bundle's folder.
        name: the bundle's.
        max_unreadable: how many images may be skipped.
        on_image: told of images read and images in all.
        adapt: adapt it to these images where that surely helps, see `fit_adaptation`.

    Raises:
        DatasetError: as `read_data_set`, and as `require_enough`.
        BundleError: as `export_bundle`.
    """
    refuse_other_folder(target)  # before an hour is spent on what could not be kept
    images = read_data_set(data, spec, max_unreadable, on_image)
    if adapt:
        require_enough(images)
    features = network.features(images.pixels)
    spaces: Sequence[Space] = [Space(unit(features), images)]
    count = len(images.class_names)
    classes = plural(count, "class", "classes")
    judged_on = f"{classes} of {data.name}; what the network's makers trained it on is not known here"
    facts = [
        ("made from", made),
        ("trained here", "no"),
        ("measured on", f"{data.name}: {classes}, {plural(len(images.labels), 'image')}"),
        ("unreadable images left out", f"{len(images.skipped):,}"),
        ("input", f"{spec.width} x {spec.height} x {spec.channels}"),
        ("embedding", f"{network.dimension} values of unit length"),
    ]
    training: dict[str, Any] = {
        "held_out": [],
        "training_classes": 0,
        "training_images": 0,
        "held_out_classes": count,
        "made": made,
    }
    if adapt:
        adaptation = fit_adaptation(features, images)
        facts.append(("adapted to these images", adaptation.sentence))
        training["adaptation"] = adaptation.facts()
        if adaptation.helps:
            network = network.adapted(adaptation.matrix, adaptation.offset)
            spaces = adaptation.spaces
            judged_on = f"{judged_on}. Each was judged by adaptations fitted to other classes"
    origin = Origin(name, "export", spec, judged_on, facts, training)
    return make_bundle(network, origin, images, images, target, spaces=spaces)
