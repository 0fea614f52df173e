"""Faults of pictures, made on purpose and to a measure: each a function of a picture (and a generator).

Pictures are Pillow images on white paper, of mode L or RGB; the result is the encoded image that a caller would send.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

WHITE = (255, 255, 255)


def opened(content: bytes) -> Image.Image:
    """Open a picture as it is decoded: gray or in color, on white."""
    image = Image.open(io.BytesIO(content))
    return image.convert("RGB" if image.mode in ("RGB", "RGBA", "P") else "L")


def png(image: Image.Image) -> bytes:
    """Encode a picture as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def blank(image: Image.Image, rng: np.random.Generator) -> bytes:
    """Make paper of the picture's size as a scanner sees it: noise of 3 gray levels."""
    return png(_noisy(Image.new("L", image.size, 245), rng))


def specks(image: Image.Image, rng: np.random.Generator) -> bytes:
    """Make the same with one to five dark specks, each at most 2 % of the longer side wide."""
    page = Image.new("L", image.size, 245)
    pen = ImageDraw.Draw(page)
    widest = max(1, round(0.02 * max(image.size)))
    for _ in range(int(rng.integers(1, 6))):
        width = int(rng.integers(1, widest + 1))
        left, top = int(rng.integers(0, image.width - width)), int(rng.integers(0, image.height - width))
        pen.rectangle((left, top, left + width - 1, top + width - 1), fill=int(rng.integers(0, 120)))
    return png(_noisy(page, rng))


def blurred(image: Image.Image, share: float) -> bytes:
    """Blur by a Gaussian whose sigma is a share of the longer side."""
    return png(image.filter(ImageFilter.GaussianBlur(share * max(image.size))))


def shrunk(image: Image.Image, side: int) -> bytes:
    """Shrink to `side` pixels on the longer side."""
    scale = side / max(image.size)
    return png(image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS))


def reencoded(image: Image.Image, quality: int) -> bytes:
    """Encode as JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def shifted(image: Image.Image, share: float) -> bytes:
    """Move right and down by a share of each side."""
    page = Image.new("RGB", image.size, WHITE).convert(image.mode)
    page.paste(image, (round(share * image.width), round(share * image.height)))
    return png(page)


def scaled(image: Image.Image, factor: float) -> bytes:
    """Resample to another number of pixels."""
    size = round(factor * image.width), round(factor * image.height)
    return png(image.resize(size, Image.Resampling.BICUBIC))


def turned(image: Image.Image, degrees: float) -> bytes:
    """Turn about its middle."""
    paper = WHITE if image.mode == "RGB" else 255
    return png(image.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=paper))


def _noisy(page: Image.Image, rng: np.random.Generator) -> Image.Image:
    gray = np.asarray(page, np.float32) + rng.normal(0.0, 3.0, (page.height, page.width))
    return Image.fromarray(np.clip(gray, 0, 255).astype(np.uint8))
