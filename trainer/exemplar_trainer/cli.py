"""`exemplar train`: the command, its messages and its progress bar."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

EXIT_STOPPED = 130


@app.command()
def train(
    context: typer.Context,
    data: Annotated[
        Path | None, typer.Argument(help="Folder or zip of images, .../GROUP/CLASS/IMAGE. Not needed with --resume.")
    ] = None,
    run: Annotated[Path, typer.Option("--run", help="Folder of the run; the bundle ends up in RUN/bundle.")] = Path(
        "runs/default"
    ),
    recipe: Annotated[str, typer.Option(help="What to train: default or seed.")] = "default",
    name: Annotated[str, typer.Option(help="The bundle's name for people.")] = "",
    loss: Annotated[str, typer.Option(help="Another loss than the recipe's; --list-losses names them.")] = "",
    steps: Annotated[int | None, typer.Option(min=1, help="Another number of steps than the recipe's.")] = None,
    size: Annotated[int | None, typer.Option(min=8, help="Another input side, in pixels.")] = None,
    colour: Annotated[bool, typer.Option("--colour", help="Three channels instead of one.")] = False,
    framing: Annotated[
        str,
        typer.Option(
            help="What an input shows: ink (the drawing, whatever its place and size) or whole (the image). "
            "[default: the recipe's; whole with --colour]"
        ),
    ] = "",
    learning_rate: Annotated[float | None, typer.Option(min=0, help="Another peak learning rate.")] = None,
    precision: Annotated[
        str, typer.Option(help="float32, or mixed_bfloat16 where the processor has it.")
    ] = "float32",
    start_from: Annotated[
        Path | None,
        typer.Option(help="Folder of another run of the same network and classes, to begin with its weights."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed of weights and batches.")] = None,
    hold_out: Annotated[
        list[str] | None,
        typer.Option(help="A group to hold out from training; repeat it. Absent: every fifth group by name."),
    ] = None,
    max_unreadable: Annotated[int, typer.Option(min=0, help="So many unreadable images may be skipped.")] = 20,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in RUN.")] = False,
    list_losses: Annotated[bool, typer.Option("--list-losses", help="Name the losses and stop.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Train an embedding model on a tree of images and make a bundle of it.

    Whole groups (the folders above the class folders) are held out from training and used to measure and calibrate.
    Ctrl-C leaves a run that `--resume` goes on with.
    """
    # TensorFlow takes seconds to import; nobody should wait for it to read the help.
    from exemplar_trainer.quiet import load_backend

    load_backend()
    from exemplar_encoder import BundleError
    from exemplar_trainer.checkpoint import CheckpointError
    from exemplar_trainer.dataset import DatasetError
    from exemplar_trainer.fit import DivergedError, TrainingStoppedError
    from exemplar_trainer.losses import LOSSES
    from exemplar_trainer.recipe import RECIPES, Recipe
    from exemplar_trainer.run import FILE, Run, RunError, execute, refuse_taken
    from exemplar_trainer.screen import Screen

    def chosen_recipe() -> Recipe:
        if recipe not in RECIPES:
            raise typer.BadParameter(f"there is no recipe {recipe!r}; there are {', '.join(RECIPES)}")
        if loss and loss not in LOSSES:
            raise typer.BadParameter(f"there is no loss {loss!r}; there are {', '.join(LOSSES)}")
        if precision not in ("float32", "mixed_bfloat16"):
            raise typer.BadParameter(f"there is no precision {precision!r}; there are float32 and mixed_bfloat16")
        if framing not in ("", "ink", "whole"):
            raise typer.BadParameter(f"there is no framing {framing!r}; there are ink and whole")
        base = RECIPES[recipe]
        spec = base.preprocessing
        wanted = framing or ("whole" if colour else spec.framing)
        spec = dataclasses.replace(
            spec,
            width=size or spec.width,
            height=size or spec.height,
            channels=3 if colour else spec.channels,
            framing="ink" if wanted == "ink" else "whole",
        )
        return dataclasses.replace(
            base,
            preprocessing=spec,
            loss=loss or base.loss,
            steps=steps or base.steps,
            learning_rate=learning_rate or base.learning_rate,
            precision="mixed_bfloat16" if precision == "mixed_bfloat16" else "float32",
            seed=base.seed if seed is None else seed,
        )

    if list_losses:
        typer.echo("\n".join(LOSSES))
        return
    to_go_on = f"To go on: exemplar train --resume --run {shlex.quote(str(run))}"
    with Screen(quiet=as_json) as screen:
        try:
            if resume:
                _refuse_choices(context)
                job = Run.load(run)
            elif data is None:
                raise typer.BadParameter("name a folder or zip of images, or --resume a run")
            else:
                refuse_taken(run)
                title = name or f"{data.stem}-{recipe}"
                job = Run(
                    title,
                    chosen_recipe(),
                    str(data.absolute()),
                    tuple(hold_out or ()),
                    max_unreadable,
                    str(start_from.absolute()) if start_from else "",
                )
            screen.begin(job, run)
            bundle = execute(job, run, screen.watcher(job))
        except TrainingStoppedError as stopped:
            screen.message(f"Stopped after step {stopped.step:,}. {to_go_on}")
            raise typer.Exit(EXIT_STOPPED) from stopped
        except KeyboardInterrupt as stopped:  # while images are read, or after training
            screen.message(f"Stopped. {to_go_on if (run / FILE).exists() else 'Nothing was kept.'}")
            raise typer.Exit(EXIT_STOPPED) from stopped
        except (DatasetError, RunError, CheckpointError, DivergedError, BundleError, ValueError, OSError) as error:
            screen.error(str(error))
            raise typer.Exit(1) from error
        screen.finish(bundle, run)
    if as_json:
        figures = [dataclasses.asdict(figure) for figure in bundle.figures]
        typer.echo(json.dumps({"bundle": str(bundle.path), "id": bundle.id, "figures": figures}, indent=1))


def _refuse_choices(context: typer.Context) -> None:
    """A run that is resumed keeps the choices it began with, so none may be given again."""
    kept = ("run", "resume", "list_losses", "as_json")
    given = [
        str(parameter.opts[-1] if parameter.opts[-1].startswith("-") else "the folder or zip")
        for parameter in context.command.params
        if parameter.name
        and parameter.name not in kept
        and getattr(context.get_parameter_source(parameter.name), "name", "") == "COMMANDLINE"
    ]
    if given:
        raise typer.BadParameter(f"--resume goes on with the choices of the run; leave out {', '.join(given)}")


def main() -> None:
    """Run the command on its own."""
    app()
