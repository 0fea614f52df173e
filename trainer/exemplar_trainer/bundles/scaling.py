"""The numbers that a network takes pixels as: part of its graph in a bundle, so plain pixels go into every bundle."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scaling:
    """A pixel from 0 to 255 goes into a network as `(pixel * scale - mean) / std`.

    Attributes:
        scale: of every channel.
        mean: of each channel in the order that the network takes them, or one number for all.
        std: likewise, none of them 0.
        bgr: the network takes blue first.
    """

    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    bgr: bool = False


# By what a network takes black and white as.
PIXELS = {"0-255": Scaling(), "0-1": Scaling(1 / 255), "-1-1": Scaling(2 / 255, mean=(1.0,))}
