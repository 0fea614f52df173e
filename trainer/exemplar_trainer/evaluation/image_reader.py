"""Reads single image files as an encoder does, for questions whose files are named one by one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from exemplar_encoder import EncodedImage, Encoder, ImageError
from exemplar_encoder.arrays import Pixels
from exemplar_trainer.data.wording import abridged
from exemplar_trainer.evaluation.tasks import EvaluationError, Questions, Task


class ImageReader:
    """Reads each image once and gives it a position."""

    def __init__(self, root: Path, encoder: Encoder, max_unreadable: int = 0) -> None:
        self._root, self._encoder, self._max_unreadable = root, encoder, max_unreadable
        self._skipped: list[str] = []
        self._positions: dict[str, int] = {}
        self._pixels: list[Pixels] = []
        self._classes: list[str] = []

    def position(self, name: str, class_name: str) -> int:
        """Return the position of an image.

        Args:
            name: of the file, relative to the root.
            class_name: of the image.

        Raises:
            EvaluationError: it is missing or unreadable.
        """
        if name not in self._positions:
            try:
                prepared = self._encoder.prepare(EncodedImage((self._root / name).read_bytes()))
            except (OSError, ImageError) as error:
                raise EvaluationError(f"{self._root / name} cannot be read: {error}") from error
            self._positions[name] = len(self._pixels)
            self._pixels.append(prepared.pixels)
            self._classes.append(class_name)
        return self._positions[name]

    def positions(self, paths: Sequence[Path], class_name: str) -> list[int]:
        """Return positions of those of a class's images that can be read; the others are counted.

        Raises:
            EvaluationError: none can be read, or by now too many cannot.
        """
        found: list[int] = []
        for path in paths:
            try:
                found.append(self.position(str(path), class_name))
            except EvaluationError as error:
                self._skipped.append(str(error))
                if len(self._skipped) > self._max_unreadable:
                    limit = f"more than {self._max_unreadable} images cannot be read"
                    raise EvaluationError(f"{limit}: {abridged(self._skipped)}") from error
        if paths and not found:
            raise EvaluationError(
                f"no image of class {class_name} can be read in {paths[0].parent}: {self._skipped[-1]}"
            )
        return found

    def questions(self, title: str, tasks: Sequence[Task]) -> Questions:
        """Return tasks on the images that were read, as questions."""
        classes, notes = tuple(self._classes), tuple(unreadable_note(self._skipped))
        return Questions(title, np.stack(self._pixels), tuple(self._positions), classes, tuple(tasks), notes=notes)


def unreadable_note(skipped: Sequence[str]) -> list[str]:
    """Return a sentence about images that were left out, if any were."""
    return [f"Left out as unreadable: {len(skipped)}, such as {skipped[0]}"] if skipped else []
