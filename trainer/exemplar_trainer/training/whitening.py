"""Within-class whitening: directions in which pictures of one class differ come to count less than others.

The loss leaves some uneven; training ends by scaling them by the spread of the training pictures around their
classes' means. That is a linear map, so the last layer takes it in, and the network that is served is as large as
before. See `within_class` for the map.
"""

from __future__ import annotations

import keras
import numpy as np

from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.training.embed import embed
from exemplar_trainer.training.within_class import whitening

_EMBEDDING = "embedding"


def whiten(network: keras.Model, images: ImageSet) -> None:
    """Fold the whitening into a base network, in place.

    Args:
        network: ends in a dense layer named "embedding" and one that scales its output to unit length.
        images: what it was trained on.
    """
    layer = network.get_layer(_EMBEDDING)
    before_scaling = keras.Model(network.input, layer.output)
    transform = whitening(embed(before_scaling, images.pixels), images.labels)
    kernel, bias = (weights.astype(np.float64) for weights in layer.get_weights())
    turned = kernel @ transform
    scale = np.linalg.norm(kernel) / np.linalg.norm(turned)  # no direction depends on it, and weights keep their size
    layer.set_weights([turned * scale, bias @ transform * scale])
