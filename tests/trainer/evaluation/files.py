"""Folders of small pictures, and an encoder as far as questions use one."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from PIL import Image

from exemplar_encoder import EncodedImage, Encoder, Preprocessing, preprocess

SPEC = Preprocessing(16, 16, 1)


def plant(root: Path, names: Iterable[str]) -> Path:
    """Write a picture of noise under each name."""
    for place, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(place)
        Image.fromarray(rng.integers(0, 256, (20, 20), dtype=np.uint8)).save(root / name)
    return root


class _Reads:
    """Prepares images as an encoder does, without a network."""

    def prepare(self, image: EncodedImage) -> Any:
        return SimpleNamespace(pixels=preprocess(Image.open(io.BytesIO(image.content)).convert("L"), SPEC))


READER = cast(Encoder, _Reads())
