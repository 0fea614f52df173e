"""A picture with no more pixels than a network makes use of, for where it has a long way to go.

Promises: what is embedded is nearly the same. The part that is meant is cut out and made upright as the server does,
and keeps more pixels than any framing shows to the network. What is refused, is transparent (on which background is
the network's matter) or would hardly get smaller is returned as it was.
"""

from __future__ import annotations

import io

from PIL import Image

from exemplar_encoder.decode import ImageError, decode
from exemplar_encoder.formats import READ
from exemplar_encoder.preprocess import enough_for_ink
from exemplar_encoder.region import EncodedImage

# Where less than half of the bytes is saved, it is not worth the change.
_WORTHWHILE = 0.5

# What photographs come in, at a loss that one more pass at this quality hardly adds to.
_LOSSY = ("JPEG", "WEBP", "AVIF", "HEIC")
_QUALITY = 90


def shrunk(image: EncodedImage, input_side: int) -> EncodedImage:
    """Shrink an encoded image, or the part of it that is meant, which is then all of it.

    Args:
        image: the image.
        input_side: the longer side of the network's input in pixels.

    Returns:
        A JPEG where the image is in a format for photographs, else a PNG; the image itself where it had better stay
        as it is.
    """
    try:
        decoded = decode(image.content, region=image.region, enough=enough_for_ink(input_side))
    except ImageError:
        return image  # whoever is to embed it says what is wrong
    with Image.open(io.BytesIO(image.content), formats=READ) as opened:
        if opened.has_transparency_data:
            return image
    pixels, kept = decoded.pixels, enough_for_ink(input_side)
    shorter = min(pixels.size)
    if shorter > kept:
        size = round(pixels.width * kept / shorter), round(pixels.height * kept / shorter)
        pixels = pixels.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
    elif image.region is None and decoded.reduction == 1:
        return image
    buffer = io.BytesIO()
    if decoded.format in _LOSSY:
        pixels.save(buffer, "JPEG", quality=_QUALITY, subsampling="4:4:4")
    else:
        pixels.save(buffer, "PNG")
    content = buffer.getvalue()
    return EncodedImage(content) if len(content) <= _WORTHWHILE * len(image.content) else image
