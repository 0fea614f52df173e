"""A recipe as `exemplar train` was asked for it: a named one, with what the options change."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from exemplar_trainer.losses import LOSSES
from exemplar_trainer.networks import BACKBONES
from exemplar_trainer.recipes.recipe import RECIPES, Recipe


class ChoiceError(ValueError):
    """A choice that does not exist or does not go with another; the message names what does."""


@dataclass(frozen=True)
class Choices:
    """The options of the command; "", None or False where one was not given.

    `size` is a side, or WIDTHxHEIGHT, in pixels; `early_size` a longer side.
    """

    recipe: str = ""
    loss: str = ""
    steps: int | None = None
    size: str = ""
    early_size: int | None = None
    color: bool = False
    backbone: str = ""
    weights: str = ""
    frozen: bool = False
    framing: str = ""
    learning_rate: float | None = None
    precision: str = "float32"
    seed: int | None = None


def choose(choices: Choices) -> Recipe:
    """The recipe that the options amount to.

    Without a name it is `default`; `color` for color pictures, `photo` for a backbone.

    Raises:
        ChoiceError: an option names nothing, or does not go with another.
    """
    c = choices
    _one_of("recipe", c.recipe, ("", *RECIPES))
    _one_of("loss", c.loss, ("", *LOSSES))
    _one_of("framing", c.framing, ("", "ink", "whole"))
    _one_of("precision", c.precision, ("float32", "mixed_bfloat16"))
    _one_of("backbone", c.backbone, ("", *BACKBONES))
    base = RECIPES[c.recipe or ("photo" if c.backbone else "color" if c.color else "default")]
    network = c.backbone or base.network
    if network not in BACKBONES and (c.weights or c.frozen):
        raise ChoiceError(f"--weights and --frozen need a backbone: {', '.join(BACKBONES)}")
    weights = _weights(c.weights or ("imagenet" if c.backbone else base.weights))
    if c.frozen and not weights:
        raise ChoiceError("--frozen leaves a backbone as it came; give it --weights")
    if c.learning_rate is not None and c.learning_rate <= 0:
        raise ChoiceError(f"--learning-rate must be more than 0, not {c.learning_rate:g}")
    spec = base.preprocessing
    width, height = parse_size(c.size) if c.size else (spec.width, spec.height)
    in_color = c.color or network in BACKBONES or spec.channels == 3
    framing = c.framing or ("whole" if in_color else spec.framing)
    try:
        preprocessing = replace(
            spec,
            width=width,
            height=height,
            channels=3 if in_color else 1,
            framing="ink" if framing == "ink" else "whole",
            levels="kept" if in_color or framing != "ink" else spec.levels,
        )
    except ValueError as error:
        raise ChoiceError(f"--size: {error}") from error
    if c.early_size is not None and c.early_size >= max(width, height):
        raise ChoiceError(
            f"--early-size must be less than the input's {max(width, height)} pixels, not {c.early_size}"
        )
    changes: dict[str, Any] = {
        "preprocessing": preprocessing,
        "network": network,
        "weights": weights,
        "frozen": c.frozen or base.frozen,
        "loss": c.loss or base.loss,
        "steps": c.steps or base.steps,
        "early_size": c.early_size or base.early_size,
        "learning_rate": c.learning_rate or base.learning_rate,
        "precision": c.precision,
        "seed": base.seed if c.seed is None else c.seed,
    }
    if width != height:
        changes["orientations"] = 1  # a quarter turn of a wide picture leaves half of it outside
    return replace(base, **changes)


def _weights(given: str) -> str:
    """As a recipe has them: a run may be resumed from another folder, so a file's path is whole."""
    if given in ("", "none"):
        return ""
    return given if given == "imagenet" else str(Path(given).absolute())


def _one_of(what: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise ChoiceError(f"there is no {what} {given!r}; there are {', '.join(name for name in known if name)}")


def parse_size(text: str) -> tuple[int, int]:
    """`(width, height)` of "64" or "96x64"; ChoiceError where it is neither."""
    found = re.fullmatch(r"(\d{1,4})(?:x(\d{1,4}))?", text)
    if found is None:
        raise ChoiceError(f"--size takes a side or WIDTHxHEIGHT in pixels, such as 64 or 96x64, not {text!r}")
    return int(found[1]), int(found[2] or found[1])
