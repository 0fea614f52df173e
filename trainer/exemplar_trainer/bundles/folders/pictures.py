"""How a network takes its pictures, as its folder's configuration says: plain data for all libraries."""

from __future__ import annotations

from dataclasses import dataclass, replace

from exemplar_encoder.preprocess import Fit, Halving, Resample

Triple = tuple[float, float, float]

BLACK = (0, 0, 0)


@dataclass(frozen=True)
class Pictures:
    """The size of a network's pictures, the way to it, and the numbers that it takes them as.

    A value of 0 to 255 goes in as `(value * scale - mean) / std`, for each channel. The fields of the first lines are
    those of `Preprocessing`.
    """

    height: int
    width: int
    fit: Fit
    resample: Resample
    resize: int | None = None
    halving: Halving = "even"
    background: tuple[int, int, int] = BLACK
    scale: float = 1 / 255
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)
    bgr: bool = False

    def at(self, height: int, width: int) -> Pictures | None:
        """Return the same way to another size, in proportion; None: the sizes are of other proportions."""
        if self.height * width != self.width * height:
            return None
        resize = None if self.resize is None else self.resize * height // self.height
        return replace(self, height=height, width=width, resize=resize)
