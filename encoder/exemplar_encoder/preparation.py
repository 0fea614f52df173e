"""From an image file to the network's input: decode, preprocess, and remember what the image was.

Promises: training, exporting and serving come here, so that a network sees the same of a picture in each. It can be
pickled, and needs no bundle and no engine, so that it may be done in another process than embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

from exemplar_encoder.arrays import Pixels
from exemplar_encoder.decode import ImageLimits, decode
from exemplar_encoder.preprocess import Preprocessing, fitted
from exemplar_encoder.region import Box, EncodedImage


@dataclass(frozen=True)
class PreparedImage:
    """The network's input, uint8 `[height, width, channels]`, and what the image was before (sizes in pixels).

    `shown` and `enlargement` tell how the image, or the part of it that is meant, lies in the input, see `Fitted`.
    `sha256` names the image.
    """

    pixels: Pixels
    format: str
    width: int
    height: int
    shown: Box
    enlargement: float
    sha256: str


@dataclass(frozen=True)
class Preparation:
    """Prepares images as one bundle wants them, within limits; from as many threads as you like."""

    spec: Preprocessing
    limits: ImageLimits

    def __call__(self, image: EncodedImage) -> PreparedImage:
        """Decode and preprocess one encoded image, or the part of it that is meant.

        Raises:
            ImageError: the bytes are no usable image; its reason says why.
            MemoryError: there is not enough memory for it.
        """
        spec = self.spec
        decoded = decode(image.content, self.limits, spec.background, image.region, spec.enough, spec.channels == 1)
        view = fitted(decoded.pixels, spec)
        enlargement = view.enlargement / decoded.reduction
        return PreparedImage(
            view.pixels, decoded.format, decoded.width, decoded.height, view.shown, enlargement, image.sha256()
        )
