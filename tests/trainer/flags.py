"""Colored pictures drawn on the spot: flags of three stripes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def draw_flags(root: Path, grouped: bool = True) -> Path:
    """Draw twelve wide classes in four designs; with `grouped`, `classes.csv` puts them in two groups."""
    root.mkdir()
    rng = np.random.default_rng(0)
    rows = ["class,group"]
    for index in range(12):
        name = f"flag{index:02d}"
        rows.append(f"{name},{'bright' if index % 2 else 'dark'}")
        stripes = rng.integers(0, 256, (1, 3, 3))
        (root / name).mkdir()
        for design in ("plain", "soft", "noisy", "small"):
            pixels = np.kron(stripes, np.ones((40, 20, 1))) + rng.normal(0, 8, (40, 60, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / name / f"{design}.png")
    if grouped:
        (root / "classes.csv").write_text("\n".join(rows) + "\n")
    return root
