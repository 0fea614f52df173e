"""A recipe as `exemplar train` was asked for it: a named one, with what the options change.

Nothing here needs Keras, so what cannot be meant is refused before it is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from exemplar_encoder import Preprocessing
from exemplar_trainer.losses import LOSSES
from exemplar_trainer.networks.pretrained import BACKBONES, PUBLISHED, is_backbone, is_file, refuse_input
from exemplar_trainer.recipes.recipe import Recipe
from exemplar_trainer.recipes.shipped import RECIPES
from exemplar_trainer.recipes.size import parse_size


class OptionError(ValueError):
    """An option that names nothing, or does not go with another; the message says what does."""


@dataclass(frozen=True)
class TrainOptions:
    """The options of the command; "", None or False where one was not given.

    `size` is a side, or WIDTHxHEIGHT, in pixels.
    """

    recipe: str = ""
    loss: str = ""
    steps: int | None = None
    size: str = ""
    color: bool = False
    backbone: str = ""
    weights: str = ""
    frozen: bool = False
    framing: str = ""
    learning_rate: float | None = None
    precision: str = "float32"
    seed: int | None = None


def recipe_from(given: TrainOptions) -> Recipe:
    """Return the recipe that the options amount to.

    Without a name it is `default`; `color` for color pictures, `photo` for a backbone.

    Raises:
        OptionError: an option names nothing, or does not go with another.
    """
    _one_of("recipe", given.recipe, ("", *RECIPES))
    _one_of("loss", given.loss, ("", *LOSSES))
    _one_of("framing", given.framing, ("", "ink", "whole"))
    _one_of("precision", given.precision, ("float32", "mixed_bfloat16"))
    if not is_file(given.backbone):
        _one_of("backbone", given.backbone, ("", *BACKBONES), ", or a .keras file")
    base = RECIPES[given.recipe or ("photo" if given.backbone else "color" if given.color else "default")]
    network = _path(given.backbone) if is_file(given.backbone) else given.backbone or base.network
    if not is_backbone(network) and (given.weights or given.frozen):
        raise OptionError(f"--weights and --frozen need a backbone: {', '.join(BACKBONES)}, or a .keras file")
    weights = _weights(network, given.weights or (PUBLISHED if given.backbone else base.weights))
    if given.frozen and not weights:
        raise OptionError("--frozen leaves a backbone as it came; give it --weights")
    if given.learning_rate is not None and given.learning_rate <= 0:
        raise OptionError(f"--learning-rate must be more than 0, not {given.learning_rate:g}")
    preprocessing = _preprocessing(given, base.preprocessing, given.color or is_backbone(network))
    if is_backbone(network):
        try:
            refuse_input(network, preprocessing.shape)
        except ValueError as error:
            raise OptionError(f"--size: {error}") from error
    changes: dict[str, Any] = {
        "preprocessing": preprocessing,
        "network": network,
        "weights": weights,
        "frozen": given.frozen or base.frozen,
        "loss": given.loss or base.loss,
        "steps": given.steps or base.steps,
        "learning_rate": given.learning_rate or base.learning_rate,
        "precision": given.precision,
        "seed": base.seed if given.seed is None else given.seed,
    }
    if preprocessing.width != preprocessing.height:
        changes["orientations"] = 1  # a quarter turn of a wide picture leaves half of it outside
    return replace(base, **changes)


def _preprocessing(given: TrainOptions, base: Preprocessing, in_color: bool) -> Preprocessing:
    try:
        width, height = parse_size(given.size) if given.size else (base.width, base.height)
    except ValueError as error:
        raise OptionError(str(error)) from error
    in_color = in_color or base.channels == 3
    framing = given.framing or ("whole" if in_color else base.framing)
    try:
        return replace(
            base,
            width=width,
            height=height,
            channels=3 if in_color else 1,
            framing="ink" if framing == "ink" else "whole",
            levels="kept" if in_color or framing != "ink" else base.levels,
        )
    except ValueError as error:
        raise OptionError(f"--size: {error}") from error


def _weights(network: str, given: str) -> str:
    """Return weights as a recipe has them."""
    if given in ("", "none"):
        return ""
    if is_file(network):
        if given != PUBLISHED and _path(given) != network:
            raise OptionError(f"{network} has its own weights; leave --weights out, or give none")
        return network
    return given if given == PUBLISHED else _path(given)


def _path(given: str) -> str:
    """Return a file's whole path: a run may be resumed from another folder."""
    return str(Path(given).absolute())


def _one_of(what: str, given: str, known: tuple[str, ...], further: str = "") -> None:
    if given not in known:
        names = ", ".join(name for name in known if name)
        raise OptionError(f"there is no {what} {given!r}; there are {names}{further}")
