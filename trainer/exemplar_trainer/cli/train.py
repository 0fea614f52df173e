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
        Path | None,
        typer.Argument(help="Folder or zip of images, .../GROUP/CLASS/IMAGE. With --resume only where it has moved."),
    ] = None,
    run: Annotated[Path, typer.Option("--run", help="Folder of the run; the bundle ends up in RUN/bundle.")] = Path(
        "runs/default"
    ),
    recipe: Annotated[
        str,
        typer.Option(
            help="What to train: default, color, photo or seed. [default: default; color with --color, photo with "
            "--backbone]"
        ),
    ] = "",
    name: Annotated[str, typer.Option(help="The bundle's name for people.")] = "",
    loss: Annotated[str, typer.Option(help="Another loss than the recipe's; --list-losses names them.")] = "",
    steps: Annotated[int | None, typer.Option(min=1, help="Another number of steps than the recipe's.")] = None,
    size: Annotated[str, typer.Option(help="Another input, in pixels: a side, or WIDTHxHEIGHT.")] = "",
    early_size: Annotated[
        int | None,
        typer.Option(
            min=8, help="Smaller images, of so many pixels, in the first half of the steps: they take less time."
        ),
    ] = None,
    color: Annotated[bool, typer.Option("--color", help="Color pictures: three channels instead of one.")] = False,
    backbone: Annotated[
        str,
        typer.Option(
            help="A network of keras.applications, trained by others on photographs: mobilenetv3-small, "
            "mobilenetv3-large, efficientnetv2-b0 to -b3."
        ),
    ] = "",
    weights: Annotated[
        str,
        typer.Option(
            help="What the backbone begins with: imagenet (Keras downloads it), a .weights.h5 file, or none. "
            "[default: imagenet]"
        ),
    ] = "",
    frozen: Annotated[bool, typer.Option("--frozen", help="Leave the backbone as it came; train its last layer.")] = (
        False
    ),
    framing: Annotated[
        str,
        typer.Option(
            help="What an input shows: ink (the drawing, whatever its place and size) or whole (the image). "
            "[default: the recipe's; whole in color]"
        ),
    ] = "",
    learning_rate: Annotated[float | None, typer.Option(min=0, help="Another peak learning rate.")] = None,
    precision: Annotated[
        str,
        typer.Option(help="float32, or mixed_bfloat16 where the processor has it."),
    ] = "float32",
    start_from: Annotated[
        Path | None,
        typer.Option(
            help="Folder of another run of the same network and classes, to begin with its weights; one "
            "that saw what this run holds out is refused."
        ),
    ] = None,
    teacher: Annotated[
        list[Path] | None,
        typer.Option(
            help="A bundle of the same input, of any size, to learn from beside the labels; repeat it for several."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed of weights and batches.")] = None,
    hold_out: Annotated[
        list[str] | None,
        typer.Option(help="A group to hold out from training; repeat it. Absent: every fifth group by name."),
    ] = None,
    hold_out_every: Annotated[int, typer.Option(min=2, help="Hold out every so-manieth group, by name.")] = 5,
    hold_out_classes: Annotated[
        bool, typer.Option("--hold-out-classes", help="Hold out single classes even where there are groups.")
    ] = False,
    max_unreadable: Annotated[int, typer.Option(min=0, help="So many unreadable images may be skipped.")] = 20,
    final_of: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a finished run: train its recipe once more, on all classes, the held-out ones too. "
            "Figures and calibration stay those of that run."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in RUN.")] = False,
    list_losses: Annotated[bool, typer.Option("--list-losses", help="Name the losses and stop.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Train an embedding model on a tree of images and make a bundle of it.

    Whole groups (the folders above the class folders) are held out from training and used to measure and calibrate.
    Ctrl-C leaves a run that `--resume` goes on with.
    """
    # TensorFlow takes seconds to import; nobody should wait for it to read the help.
    from exemplar_trainer.cli.backend import load_backend

    load_backend()
    from exemplar_encoder import BundleError
    from exemplar_trainer.cli.console import Screen, outcome
    from exemplar_trainer.data.image_set import DatasetError
    from exemplar_trainer.losses import LOSSES
    from exemplar_trainer.networks.backbone import WeightsError
    from exemplar_trainer.recipes.options import ChoiceError, Choices, choose
    from exemplar_trainer.training.checkpoint import FILE as CHECKPOINT
    from exemplar_trainer.training.checkpoint import CheckpointError
    from exemplar_trainer.training.loop import DivergedError, TrainingStoppedError
    from exemplar_trainer.training.run import execute
    from exemplar_trainer.training.run_folder import FILE, Run, RunError, refuse_taken

    if list_losses:
        typer.echo("\n".join(LOSSES))
        return
    teachers = tuple(str(path.absolute()) for path in teacher or ())
    to_go_on = f"To go on: exemplar train --resume --run {shlex.quote(str(run))}"
    with Screen(quiet=as_json) as screen:
        try:
            if resume:
                _refuse_choices(context, "--resume goes on", ("data",))
                job = Run.load(run)
                if data is not None:
                    job = dataclasses.replace(job, data=str(data.absolute()))
            elif final_of is not None:
                _refuse_choices(context, "--final-of trains", ("final_of", "name", "teacher"))
                refuse_taken(run)
                job = Run.final(name, final_of, teachers)
            elif data is None:
                raise typer.BadParameter("name a folder or zip of images, or --resume a run")
            else:
                refuse_taken(run)
                if early_size is not None and start_from is not None:
                    raise ChoiceError(
                        "--early-size is for a network that begins from nothing, so not with --start-from"
                    )
                chosen = choose(
                    Choices(
                        recipe=recipe,
                        loss=loss,
                        steps=steps,
                        size=size,
                        early_size=early_size,
                        color=color,
                        backbone=backbone,
                        weights=weights,
                        frozen=frozen,
                        framing=framing,
                        learning_rate=learning_rate,
                        precision=precision,
                        seed=seed,
                    )
                )
                job = Run(
                    name or f"{data.stem}-{chosen.name}",
                    chosen,
                    str(data.absolute()),
                    tuple(hold_out or ()),
                    max_unreadable,
                    str(start_from.absolute()) if start_from else "",
                    hold_out_every,
                    hold_out_classes,
                    teachers=teachers,
                )
            screen.begin(job, run)
            bundle = execute(job, run, screen.watcher(job))
        except ChoiceError as error:
            raise typer.BadParameter(str(error)) from error
        except TrainingStoppedError as stopped:
            screen.message(f"Stopped after step {stopped.step:,}. {to_go_on}")
            raise typer.Exit(EXIT_STOPPED) from stopped
        except KeyboardInterrupt as stopped:  # while images are read, or after training
            screen.message(f"Stopped. {to_go_on if (run / FILE).exists() else 'Nothing was kept.'}")
            raise typer.Exit(EXIT_STOPPED) from stopped
        except ModuleNotFoundError as error:
            if error.name != "tensorflow" or not (run / CHECKPOINT).exists():
                raise
            screen.error(
                "the network is trained, but TensorFlow, which writes its bundle, is not installed here: copy "
                f"{run} to where it is, and there: exemplar train --resume --run RUN IMAGES"
            )
            raise typer.Exit(1) from error
        except (
            DatasetError,
            RunError,
            CheckpointError,
            DivergedError,
            WeightsError,
            BundleError,
            ValueError,
            OSError,
        ) as error:
            screen.error(str(error))
            raise typer.Exit(1) from error
        screen.finish(bundle)
    if as_json:
        typer.echo(json.dumps(outcome(bundle), indent=1))


def _refuse_choices(context: typer.Context, what: str, also: tuple[str, ...] = ()) -> None:
    """A run that is resumed, or made final, keeps the choices it began with, so none may be given again."""
    kept = ("run", "resume", "list_losses", "as_json", *also)
    given = [
        str(parameter.opts[-1] if parameter.opts[-1].startswith("-") else "the folder or zip")
        for parameter in context.command.params
        if parameter.name
        and parameter.name not in kept
        and getattr(context.get_parameter_source(parameter.name), "name", "") == "COMMANDLINE"
    ]
    if given:
        raise typer.BadParameter(f"{what} with the choices of the run; leave out {', '.join(given)}")


def main() -> None:
    """Run the command on its own."""
    app()
