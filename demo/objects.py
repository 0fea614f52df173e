"""Photographs of things that do not exist: turned and painted vessels, rendered anew for each picture.

A thing is a profile turned about its axis, with bands and spots of its own colors. A photograph of it has a
viewpoint, a light, a background, blur, noise and an exposure of its own, so that two of one thing have nothing in
common but the thing. A `catalog` picture shows it from a fixed side on white, as a shop does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from exemplar_encoder.arrays import Floats64

SIDE = 288

# Facets along the profile, and around it.
_ALONG, _AROUND = 48, 64


@dataclass(frozen=True)
class Thing:
    """A vessel's shape and paint.

    Attributes:
        radii: of its profile from the foot to the rim, in units of its height, float64 `[48]`.
        paint: color of each facet, 0 to 1, float64 `[48, 64, 3]`.
        gloss: how much of the light it mirrors.
    """

    radii: Floats64
    paint: Floats64
    gloss: float


@dataclass(frozen=True)
class Shot:
    """How a photograph is taken: angles in radians, `scale` the height's share of the picture's side."""

    turn: float
    elevation: float
    roll: float
    scale: float
    center: Floats64
    light: Floats64
    ambient: float


def draw_things(folder: Path, things: int, photographs: int, seed: int = 0) -> None:
    """Write `folder/thing-NN/photo-N.jpg`, the same pictures every time."""
    for number in range(things):
        thing = make_thing(np.random.default_rng([seed, number]))
        place = folder / f"thing-{number:02d}"
        place.mkdir(parents=True)
        for index in range(photographs):
            rng = np.random.default_rng([seed, number, index])
            photograph(thing, rng).save(place / f"photo-{index}.jpg", quality=88)


def make_thing(rng: np.random.Generator) -> Thing:
    """Invent a vessel."""
    knots = rng.uniform(0.12, 0.48, 6)
    along = np.linspace(0, 5, _ALONG)
    radii = np.interp(along, np.arange(6), knots)
    radii = np.convolve(np.pad(radii, 4, mode="edge"), np.hanning(9) / np.hanning(9).sum(), "valid")
    colors = rng.uniform(0.05, 0.95, (4, 3))
    paint = np.broadcast_to(colors[0], (_ALONG, _AROUND, 3)).copy()
    for color in colors[1 : rng.integers(2, 4)]:
        first = int(rng.integers(0, _ALONG - 6))
        paint[first : first + int(rng.integers(3, 12))] = color
    kind = rng.integers(3)
    rows, columns = np.mgrid[:_ALONG, :_AROUND]
    if kind == 1:  # stripes, upright or slanting
        period, slant = int(rng.choice([4, 8, 16])), int(rng.integers(-1, 2))
        paint[(columns + slant * rows) % period < period // 2] = colors[3]
    elif kind == 2:  # spots, not all around, so that a view from behind has fewer
        for _ in range(int(rng.integers(4, 12))):
            row, column = rng.integers(4, _ALONG - 4), rng.integers(_AROUND)
            apart = np.minimum(abs(columns - column), _AROUND - abs(columns - column))
            paint[(rows - row) ** 2 + apart**2 < rng.integers(4, 30)] = colors[3]
    return Thing(radii, paint, float(rng.uniform(0, 0.7)))


def photograph(thing: Thing, rng: np.random.Generator) -> Image.Image:
    """Take a picture of a thing somewhere, somehow."""
    light = np.array([rng.uniform(-1, 1), rng.uniform(-0.2, 1), rng.uniform(0.3, 1)])
    shot = Shot(
        turn=rng.uniform(0, 2 * np.pi),
        elevation=rng.uniform(0.0, 0.7),
        roll=rng.normal(0, 0.12),
        scale=rng.uniform(0.45, 0.75),
        center=rng.uniform(0.4, 0.6, 2),
        light=light / np.linalg.norm(light),
        ambient=rng.uniform(0.25, 0.55),
    )
    picture = _render(thing, shot, _surroundings(rng))
    picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.2)))
    tint = rng.normal(1, 0.06, 3) * rng.uniform(0.75, 1.15)
    pixels = np.asarray(picture, np.float64) * tint + rng.normal(0, rng.uniform(1, 7), (SIDE, SIDE, 1))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def catalog(thing: Thing) -> Image.Image:
    """Show a thing as a shop's catalog does."""
    light = np.array([-0.5, 0.5, 0.7])
    shot = Shot(0.0, 0.2, 0.0, 0.75, np.array([0.5, 0.5]), light / np.linalg.norm(light), 0.5)
    return _render(thing, shot, Image.new("RGB", (SIDE, SIDE), "white"))


def _surroundings(rng: np.random.Generator) -> Image.Image:
    """Draw a wall and a table, both of some color, pattern and shade, out of focus."""
    coarse = rng.uniform(0, 1, (int(rng.integers(2, 14)), int(rng.integers(2, 14)), 3))
    wall = rng.uniform(0.1, 0.95, 3) + (coarse - 0.5) * rng.uniform(0.05, 0.7)
    picture = Image.fromarray((np.clip(wall, 0, 1) * 255).astype(np.uint8)).resize(
        (SIDE, SIDE), Image.Resampling.BICUBIC
    )
    draw = ImageDraw.Draw(picture)
    horizon = int(SIDE * rng.uniform(0.45, 0.85))
    draw.rectangle((0, horizon, SIDE, SIDE), fill=tuple((rng.uniform(0.1, 0.9, 3) * 255).astype(int).tolist()))
    for _ in range(int(rng.integers(0, 5))):  # other things that stand about
        x, y, size = rng.integers((0, 0, 15), (SIDE, SIDE, 90)).tolist()
        fill = tuple((rng.uniform(0, 1, 3) * 255).astype(int).tolist())
        (draw.ellipse if rng.random() < 0.5 else draw.rectangle)((x, y, x + size, y + size), fill=fill)
    return picture.filter(ImageFilter.GaussianBlur(rng.uniform(1, 6)))


def _render(thing: Thing, shot: Shot, picture: Image.Image) -> Image.Image:
    """Paint the facets over a background, the farthest first."""
    heights = np.linspace(-0.5, 0.5, _ALONG + 1)
    radii = np.append(thing.radii, thing.radii[-1])
    angles = np.linspace(0, 2 * np.pi, _AROUND + 1) + shot.turn
    around = np.stack([np.sin(angles), np.zeros_like(angles), np.cos(angles)], axis=1)
    points = radii[:, None, None] * around + np.array([0, 1, 0]) * heights[:, None, None]
    slope = np.gradient(radii, heights)
    normals = around - np.array([0, 1, 0]) * slope[:, None, None]
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    turned = _rotation(shot.elevation, shot.roll).T
    points, normals = points @ turned, normals @ turned
    spread = 1 / (1 - 0.25 * points[..., 2])  # nearer is larger
    flat = shot.scale * points[..., :2] * spread[..., None] * [1, -1] + shot.center
    corners = (flat * SIDE).tolist()
    middle = (normals[:-1, :-1] + normals[1:, 1:]) / 2
    facing = middle[..., 2] > 0
    middle = np.where(facing[..., None], middle, -middle)  # an open vessel shows its inside
    lit = np.maximum(middle @ shot.light, 0)
    mirrored = np.maximum(2 * lit * middle[..., 2] - shot.light[2], 0) ** 12
    shade = np.where(facing, shot.ambient + (1 - shot.ambient) * lit, 0.35 * shot.ambient + 0.25 * lit)
    colors = thing.paint * shade[..., None] + thing.gloss * (mirrored * facing)[..., None]
    fills = (np.clip(colors, 0, 1) * 255).astype(int).tolist()
    draw = ImageDraw.Draw(picture)
    depth = (points[:-1, :-1, 2] + points[1:, 1:, 2]) / 2
    for index in np.argsort(depth, axis=None).tolist():
        row, column = divmod(index, _AROUND)
        quad = (
            corners[row][column],
            corners[row][column + 1],
            corners[row + 1][column + 1],
            corners[row + 1][column],
        )
        draw.polygon([(x, y) for x, y in quad], fill=tuple(fills[row][column]))
    return picture


def _rotation(elevation: float, roll: float) -> Floats64:
    """Return the matrix that tips a thing toward the camera, and then turns the picture."""
    up, over = (np.cos(elevation), np.sin(elevation)), (np.cos(roll), np.sin(roll))
    tipped = np.array([[1, 0, 0], [0, up[0], -up[1]], [0, up[1], up[0]]])
    turned = np.array([[over[0], -over[1], 0], [over[1], over[0], 0], [0, 0, 1]])
    return np.asarray(turned @ tipped)
