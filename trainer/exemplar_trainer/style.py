"""Styles: distortions that all images of a class share, and in a batch all classes of one group.

A script that is slanted, stretched or bent as a whole is another script, and its letters are new classes to tell
apart. Distortions drawn for each image alone teach a network to overlook them; shared ones teach it nothing but the
letters, and there is no end of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Style:
    """Ranges of what is shared.

    Attributes:
        share: of classes (or groups) that get a style; the others are as they were drawn.
        rotation: up to so many degrees either way.
        stretch: natural logarithm of the most by which one axis grows against the other's shrinking.
        shear: along either axis.
        bend: standard deviation of elastic displacements, as a share of the side.
    """

    share: float = 0.0
    rotation: float = 0.0
    stretch: float = 0.0
    shear: float = 0.0
    bend: float = 0.0


def draw_styles(
    rng: np.random.Generator, style: Style, count: int, grid: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32]]:
    """Draw `count` styles.

    Returns:
        Matrices float64 `[count, 2, 2]` of determinant 1, from output to input, and displacements float32
        `[count, grid, grid, 2]` as shares of the side.
    """
    given = rng.random(count) < style.share
    angle = np.deg2rad(rng.uniform(-style.rotation, style.rotation, count))
    stretch = np.exp(rng.uniform(-style.stretch, style.stretch, (count, 2)))
    shear = rng.uniform(-style.shear, style.shear, (count, 2))
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.stack([np.stack([cos, -sin], axis=1), np.stack([sin, cos], axis=1)], axis=1)
    slant = np.stack(
        [np.stack([stretch[:, 0], shear[:, 0]], axis=1), np.stack([shear[:, 1], stretch[:, 1]], axis=1)], axis=1
    )
    matrices = turn @ slant
    matrices /= np.sqrt(np.abs(np.linalg.det(matrices)))[:, None, None]
    matrices[~given] = np.eye(2)
    bends = rng.normal(0.0, style.bend, (count, grid, grid, 2)).astype(np.float32)
    bends[~given] = 0.0
    return matrices, bends
