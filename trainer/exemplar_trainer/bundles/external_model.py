"""Networks made elsewhere, served like one trained here.

Nothing is trained; all images given are unseen, and serve to measure and to calibrate.
"""

from __future__ import annotations

from pathlib import Path

from exemplar_encoder import Bundle, Preprocessing
from exemplar_trainer.bundles.build import Origin, make_bundle
from exemplar_trainer.bundles.network import Network
from exemplar_trainer.bundles.write import refuse_other_folder
from exemplar_trainer.data.reading import OnCount, read_data_set, uncounted
from exemplar_trainer.data.wording import plural


def export_external(
    network: Network,
    made: str,
    spec: Preprocessing,
    data: Path,
    target: Path,
    name: str,
    max_unreadable: int = 20,
    on_image: OnCount = uncounted,
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

    Raises:
        DatasetError: as `read_data_set`.
        BundleError: as `export_bundle`.
    """
    refuse_other_folder(target)  # before an hour is spent on what could not be kept
    images = read_data_set(data, spec, max_unreadable, on_image)
    count = len(images.class_names)
    facts = [
        ("made from", made),
        ("trained here", "no"),
        ("measured on", f"{data.name}: {plural(count, 'class', 'classes')}, {plural(len(images.labels), 'image')}"),
        ("unreadable images left out", f"{len(images.skipped):,}"),
        ("input", f"{spec.width} x {spec.height} x {spec.channels}"),
        ("embedding", f"{network.dimension} values of unit length"),
    ]
    training = {"held_out": [], "training_classes": 0, "training_images": 0, "held_out_classes": count, "made": made}
    return make_bundle(network, Origin(name, "export", spec, facts, training), images, images, target)
