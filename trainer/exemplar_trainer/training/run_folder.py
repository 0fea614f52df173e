"""A run as its folder remembers it in `run.json`: enough to go on with it, whatever became of the process."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError

from exemplar_encoder import Bundle, BundleError
from exemplar_trainer.data.split import EVERY
from exemplar_trainer.recipes.recipe import Recipe

FILE = "run.json"
CHECKPOINT = "checkpoint.npz"
BUNDLE = "bundle"
LEFT_OUT = "left-out.txt"


class RunError(Exception):
    """A run's folder that cannot be used as asked."""


@dataclass(frozen=True)
class Run:
    """A training run: a recipe, its data, and what to hold out from them.

    Attributes:
        name: the bundle's, for people.
        recipe: what to do.
        data: the folder or zip file of images.
        hold_out: names of what to hold out; see `split`.
        max_unreadable: how many images may be skipped.
        hold_out_every: see `split`.
        hold_out_classes: hold out single classes even where there are groups.
        final_of: the folder of a finished run whose recipe is trained once more, on all classes. Its figures and its
            calibration, of a network that had not seen the held-out classes, are then this run's, too.
        teachers: folders of bundles to learn from; see `distillation`.
        fingerprint: of the data, once the run has begun; a final run's is that of the run that measured.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    recipe: Recipe
    data: str
    hold_out: tuple[str, ...]
    max_unreadable: int
    hold_out_every: int = EVERY
    hold_out_classes: bool = False
    final_of: str = ""
    teachers: tuple[str, ...] = ()
    fingerprint: str = ""

    @classmethod
    def final(cls, name: str, measured: Path, teachers: tuple[str, ...] = ()) -> Run:
        """Return the run that trains a finished one's recipe on all classes, from the same teachers or from others.

        Raises:
            RunError: that one is not finished, or is no beginning for this.
        """
        before = cls.load(measured)
        if before.final_of:
            raise RunError(f"{measured} was itself trained on all classes; name the run that it is the final of")
        if finished_bundle(measured) is None:
            raise RunError(f"{measured} has no bundle yet: exemplar train --resume --run {measured}")
        return dataclasses.replace(
            before,
            name=name or before.name,
            final_of=str(measured.absolute()),
            teachers=teachers or before.teachers,
        )

    def save(self, folder: Path) -> None:
        """Write the run down in a folder that may not exist yet."""
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / (FILE + ".partial")
        partial.write_bytes(_CODEC.dump_json(self, indent=1) + b"\n")
        partial.replace(folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> Run:
        """Read a folder's run; RunError when there is none."""
        try:
            return _CODEC.validate_json((folder / FILE).read_bytes())
        except FileNotFoundError as error:
            raise RunError(f"{folder} holds no run: {FILE} is missing") from error
        except OSError as error:
            raise RunError(f"{folder / FILE} cannot be read: {error}") from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            problem = f"{place}: {first['msg']}" if place else first["msg"]
            raise RunError(f"{folder / FILE} is not what a run writes: {problem}") from error


_CODEC = TypeAdapter(Run)


def refuse_taken(folder: Path) -> None:
    """Raise RunError when a folder already holds a run."""
    if (folder / FILE).exists():
        raise RunError(f"{folder} already holds a run; add --resume to go on with it, or name another folder")


def finished_bundle(folder: Path) -> Bundle | None:
    """Return the bundle of a run that came to its end; None before that, and where the bundle is damaged."""
    if not (folder / FILE).exists():
        return None
    try:
        return Bundle.load(folder / BUNDLE)
    except BundleError:
        return None


def save_left_out(folder: Path, left_out: Sequence[str]) -> None:
    """Write down every image that was left out, with the reason, a line each; no file where there is none."""
    path = folder / LEFT_OUT
    if left_out:
        path.write_text("".join(f"{line}\n" for line in left_out), "utf-8", "backslashreplace")
    else:
        path.unlink(missing_ok=True)
