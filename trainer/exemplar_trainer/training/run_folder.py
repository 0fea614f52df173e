"""What a run's folder remembers in `run.json`: enough to go on with the run, whatever became of the process."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from exemplar_encoder import Bundle, BundleError
from exemplar_trainer.data.fingerprint import Fingerprint
from exemplar_trainer.data.split import EVERY
from exemplar_trainer.recipes.recipe import Recipe

FILE = "run.json"
BUNDLE = "bundle"


class RunError(Exception):
    """A run's folder that cannot be used as asked."""


@dataclass(frozen=True)
class Run:
    """What a run's folder remembers: enough to go on with it.

    `final_of` is the folder of a finished run whose recipe is trained once more, on all classes: its figures and its
    calibration, of a network that had not seen the held-out ones, are then this run's, too. `teachers` are folders of
    bundles to learn from, see `distillation`. `held_out` names what the run came to hold out, and `fingerprint`
    is of its data, a final run's of those that were measured on, once it has begun; older versions wrote neither.
    `started_from` is then the recipe of the run that it started from, if any.
    """

    name: str
    recipe: Recipe
    data: str
    hold_out: tuple[str, ...]
    max_unreadable: int
    start_from: str = ""
    hold_out_every: int = EVERY
    hold_out_classes: bool = False
    final_of: str = ""
    teachers: tuple[str, ...] = ()
    held_out: tuple[str, ...] | None = None
    fingerprint: Fingerprint | None = None
    started_from: dict[str, Any] | None = None

    @classmethod
    def final(cls, name: str, measured: Path, teachers: tuple[str, ...] = ()) -> Self:
        """The run that trains a finished one's recipe on all classes, from the same teachers or from others.

        Raises:
            RunError: that one is not finished, or is no beginning for this.
        """
        before = cls.load(measured)
        if before.final_of:
            raise RunError(f"{measured} was itself trained on all classes; name the run that it is the final of")
        if before.start_from:
            raise RunError(f"{measured} began with another run's weights, which fit no more classes than it had")
        if finished_bundle(measured) is None:
            raise RunError(f"{measured} has no bundle yet: exemplar train --resume --run {measured}")
        return dataclasses.replace(
            before,
            name=name or before.name,
            final_of=str(measured.absolute()),
            teachers=teachers or before.teachers,
            held_out=(),
        )

    def save(self, folder: Path) -> None:
        """Write down what this run is, in a folder that may not exist yet."""
        folder.mkdir(parents=True, exist_ok=True)
        fields = {**dataclasses.asdict(self), "recipe": json.loads(self.recipe.to_json())}
        partial = folder / (FILE + ".partial")
        partial.write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")
        partial.replace(folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a folder's run; RunError when there is none."""
        try:
            fields: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise RunError(f"{folder} holds no run: {FILE} is missing") from error
        except (ValueError, OSError) as error:
            raise RunError(f"{folder / FILE} cannot be read: {error}") from error
        try:
            fields["recipe"] = Recipe.from_json(json.dumps(fields["recipe"]))
            fields["hold_out"] = tuple(fields["hold_out"])
            fields["teachers"] = tuple(fields.get("teachers", ()))
            if fields.get("held_out") is not None:
                fields["held_out"] = tuple(fields["held_out"])
            if fields.get("fingerprint") is not None:
                fields["fingerprint"] = Fingerprint(**fields["fingerprint"])
            return cls(**fields)
        except (ValueError, TypeError, KeyError) as error:
            raise RunError(f"{folder / FILE} is not what a run writes: {error!r}") from error


def refuse_taken(folder: Path) -> None:
    """RunError when a folder already holds a run."""
    if (folder / FILE).exists():
        raise RunError(f"{folder} already holds a run; add --resume to go on with it, or name another folder")


def never_seen_by(folder: Path) -> tuple[str, ...]:
    """Names of what a run holds out from its training; RunError where that cannot be told."""
    run = Run.load(folder)
    if run.final_of:
        return ()
    if run.held_out is not None:
        return run.held_out
    bundle = finished_bundle(folder)
    if bundle is None:
        raise RunError(f"{folder} does not say what it holds out; first: exemplar train --resume --run {folder}")
    return tuple(bundle.manifest.training["held_out"])


def finished_bundle(folder: Path) -> Bundle | None:
    """The bundle of a run that came to its end; a damaged one is made again."""
    if not (folder / FILE).exists():
        return None
    try:
        return Bundle.load(folder / BUNDLE)
    except BundleError:
        return None
