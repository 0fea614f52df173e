"""`exemplar models`: list the models that the server has loaded."""

from __future__ import annotations

from typing import Annotated

import typer

from exemplar import Figure, Model
from exemplar.commands.output import moment, percent, print_facts, print_json, print_table
from exemplar.commands.session import Session, client_command


@client_command
def models(
    session: Session,
    model: Annotated[
        str | None, typer.Argument(help="Id of a model, or how it begins, to show all of it.", show_default=False)
    ] = None,
) -> None:
    """List the loaded models, or show one in full."""
    loaded = list(session.client.models())
    if model:
        begun = [each for each in loaded if each.id.startswith(model)]
        found = begun[0] if len(begun) == 1 else session.client.get_model(model)
        if session.as_json:
            print_json(found)
        else:
            show(found)
        return
    if session.as_json:
        print_json({"models": loaded})
        return
    print_table(
        ["model", "name", "recipe", "input", "dimension", "engine", "made"],
        [
            [
                each.id[:12],
                each.display_name,
                each.recipe,
                size(each),
                str(each.dimension),
                each.engine,
                moment(each.create_time),
            ]
            for each in loaded
        ],
        right=("dimension",),
    )


def show(model: Model) -> None:
    """Print a model with its calibration and figures."""
    calibration = model.calibration
    print_facts(
        {
            "model": model.id,
            "name": model.display_name,
            "recipe": model.recipe,
            "input": size(model),
            "dimension": str(model.dimension),
            "engine": model.engine,
            "made": moment(model.create_time),
            "false-accept rate": percent(calibration.default_false_accept_rate),
            "ambiguity error rate": percent(calibration.ambiguity_error_rate),
            "calibration": calibration.method,
            "measured and calibrated on": calibration.fitted_on,
        }
    )
    if model.figures:
        print_table(
            ["figure", "value", "95 % interval"],
            [[figure.name, f"{figure.value:.4g}", interval(figure)] for figure in model.figures],
            right=("value",),
        )


def size(model: Model) -> str:
    """Format a model's input."""
    return f"{model.input_width} x {model.input_height} x {model.input_channels}"


def interval(figure: Figure) -> str:
    """Format a figure's interval; empty where none was computed."""
    return f"{figure.low:.4g} to {figure.high:.4g}" if figure.low is not None and figure.high is not None else ""
