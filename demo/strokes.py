"""Characters drawn with strokes, for demonstrations and tests where no data set is at hand.

An alphabet is a style (how many strokes, how curved); a character is a set of strokes; each drawing of it wobbles.
The tree has the shape of Omniglot's: `<Alphabet>/<character>/<id>_<drawer>.png`, ink 0 on white.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from exemplar_encoder.arrays import Floats64

SIZE = 105


def draw_alphabets(root: Path, alphabets: int, characters: int, drawers: int, seed: int = 0) -> int:
    """Draw a data set below `root`, the same for the same arguments, and return the number of its images."""
    for alphabet in range(alphabets):
        rng = np.random.default_rng([seed, alphabet])
        style = int(rng.integers(1, 4)), float(rng.uniform(0.0, 0.8))
        for character in range(characters):
            folder = root / f"Alphabet{alphabet:02d}" / f"character{character:02d}"
            folder.mkdir(parents=True, exist_ok=True)
            strokes = [_stroke(rng, style[1]) for _ in range(style[0])]
            for drawer in range(drawers):
                _draw(rng, strokes).save(folder / f"{alphabet:02d}{character:02d}_{drawer:02d}.png")
    return alphabets * characters * drawers


def _stroke(rng: np.random.Generator, curvature: float) -> Floats64:
    """Return a polyline `[n, 2]` in the unit square, rounded by `curvature`, 0 to 1."""
    corners = rng.uniform(0.12, 0.88, (int(rng.integers(3, 6)), 2))
    t = np.linspace(0, len(corners) - 1, 24)
    straight = np.stack([np.interp(t, np.arange(len(corners)), corners[:, axis]) for axis in (0, 1)], axis=1)
    window = np.ones(7) / 7
    padded = np.pad(straight, ((3, 3), (0, 0)), mode="edge")
    smooth = np.stack([np.convolve(padded[:, axis], window, mode="valid") for axis in (0, 1)], axis=1)
    return (1 - curvature) * straight + curvature * smooth


def _draw(rng: np.random.Generator, strokes: list[Floats64]) -> Image.Image:
    image = Image.new("L", (SIZE, SIZE), 255)
    draw = ImageDraw.Draw(image)
    turn, (shift_x, shift_y), scale = rng.normal(0, 0.08), rng.normal(0, 0.025, 2), rng.normal(1, 0.06, 2)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * scale
    for stroke in strokes:
        wobble = np.cumsum(rng.normal(0, 0.006, stroke.shape), axis=0)
        points = ((stroke - 0.5 + wobble) @ matrix + 0.5 + [shift_x, shift_y]) * SIZE
        draw.line([(float(x), float(y)) for x, y in points], fill=0, width=3, joint="curve")
    return image.convert("1")
