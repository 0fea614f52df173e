"""`exemplar models`: list the models that a server has loaded, and fetch published ones."""

from __future__ import annotations

from typing import Annotated, Any

import typer
import typer.core

from exemplar import Figure, Model
from exemplar.commands.fetch import fetch
from exemplar.commands.output import moment, percent, print_facts, print_json, print_table
from exemplar.commands.session import Session, client_command


class Models(typer.core.TyperGroup):
    """A group whose first command is meant where none is named: `exemplar models 3fa1` is of a loaded model."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the first command before words that begin with none, nor ask for help."""
        if not args or args[0] not in (*self.commands, *ctx.help_option_names):
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=Models,
    help="List the models that a server has loaded, or fetch a published one to make a bundle of.\n\n"
    "`exemplar models [MODEL]` is short for `exemplar models loaded [MODEL]`.",
)


@app.command()
@client_command
def loaded(
    session: Session,
    model: Annotated[
        str | None, typer.Argument(help="Id of a model, or how it begins, to show all of it.", show_default=False)
    ] = None,
) -> None:
    """List the models that the server has loaded, or show one in full."""
    found = list(session.client.models())
    if model:
        begun = [each for each in found if each.id.startswith(model)]
        one = begun[0] if len(begun) == 1 else session.client.get_model(model)
        if session.as_json:
            print_json(one)
        else:
            show(one)
        return
    if session.as_json:
        print_json({"models": found})
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
            for each in found
        ],
        right=("dimension",),
    )


app.command()(fetch)


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
            "calibrated on": calibration.fitted_on,
        }
    )
    if model.figures:
        print_table(
            ["measured on classes never trained on", "value", "95 % interval"],
            [[figure.name, f"{figure.value:.4g}", interval(figure)] for figure in model.figures],
            right=("value",),
        )


def size(model: Model) -> str:
    """Format a model's input."""
    return f"{model.input_width} x {model.input_height} x {model.input_channels}"


def interval(figure: Figure) -> str:
    """Format a figure's interval; empty where none was computed."""
    return f"{figure.low:.4g} to {figure.high:.4g}" if figure.low is not None and figure.high is not None else ""
