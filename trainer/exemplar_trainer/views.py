"""A served network that looks at an image at several sizes and answers with the mean of what it saw.

The mean of a few mildly altered copies is a steadier embedding than any one of them (test-time augmentation;
Krizhevsky et al., NIPS 2012, averaged ten crops). Each view costs as much time as the network itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops


def averaged_over_zooms(network: keras.Model, zooms: Sequence[float], background: Sequence[int]) -> keras.Model:
    """Wrap a base network.

    Args:
        network: from images `[n, h, w, c]` to unit-length embeddings `[n, dimension]`.
        zooms: how large each view shows the image; what leaves the input is cut off, what is uncovered is background.
        background: a value from 0 to 255 for each channel.

    Returns:
        A network of the same inputs and outputs; the network itself for the one view of natural size.
    """
    if tuple(zooms) == (1.0,):
        return network
    images = keras.Input(network.input_shape[1:], name="images")
    views = [_zoomed(images, zoom, background) for zoom in zooms]
    embeddings = network(layers.Concatenate(axis=0)(views))
    mean = ops.mean(ops.reshape(embeddings, (len(views), -1, network.output_shape[-1])), axis=0)
    return keras.Model(images, layers.UnitNormalization(name="unit_length")(mean), name=f"{network.name}_views")


def _zoomed(images: Any, zoom: float, background: Sequence[int]) -> Any:
    """Larger or smaller by a whole number of pixels at each edge."""
    height, width = images.shape[1:3]
    down, across = round(height * (zoom - 1) / 2), round(width * (zoom - 1) / 2)
    if not down and not across:
        return images
    resized = ops.image.resize(images, (height + 2 * down, width + 2 * across), data_format="channels_last")
    if zoom > 1:
        return resized[:, down : down + height, across : across + width, :]
    ink = resized - ops.convert_to_tensor([float(value) for value in background])
    padded = ops.pad(ink, [(0, 0), (-down, -down), (-across, -across), (0, 0)])
    return padded + ops.convert_to_tensor([float(value) for value in background])
