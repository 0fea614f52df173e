"""`exemplar train`: an embedding model from a tree of images, as a bundle."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)

EXIT_STOPPED = 130


@app.command()
def train(
    context: typer.Context,
    data: Annotated[
        Path | None,
        typer.Argument(
            help="Folder or zip of images, .../GROUP/CLASS/IMAGE. With --resume: only needed if it has moved."
        ),
    ] = None,
    run: Annotated[Path, typer.Option("--run", help="Folder of the run; the bundle ends up in RUN/bundle.")] = Path(
        "runs/default"
    ),
    recipe: Annotated[
        str,
        typer.Option(
            help="Recipe: default, color, photo or seed.",
            show_default="default; color with --color, photo with --backbone",
        ),
    ] = "",
    name: Annotated[str, typer.Option(help="The bundle's name for people.")] = "",
    loss: Annotated[
        str,
        typer.Option(
            help="Loss, instead of the recipe's: nca, nca-cosface, supcon, multi-similarity, triplet, lifted, "
            "contrastive or contrastive-head."
        ),
    ] = "",
    steps: Annotated[int | None, typer.Option(min=1, help="Steps, instead of the recipe's.")] = None,
    size: Annotated[
        str, typer.Option(help="Input in pixels, instead of the recipe's: a side, or WIDTHxHEIGHT.")
    ] = "",
    color: Annotated[bool, typer.Option("--color", help="Color pictures: three channels instead of one.")] = False,
    backbone: Annotated[
        str,
        typer.Option(
            help="A network that others trained on photographs: mobilenetv3-small, mobilenetv3-large or "
            "efficientnetv2-b0 to -b3 of keras.applications, or a .keras file with another, from pixels 0 to 255 "
            "to features."
        ),
    ] = "",
    weights: Annotated[
        str,
        typer.Option(
            help="Weights that the backbone begins with: imagenet (Keras downloads it), a .weights.h5 file, or none.",
            show_default="imagenet, or the .keras file's own",
        ),
    ] = "",
    frozen: Annotated[
        bool, typer.Option("--frozen", help="Leave the backbone as it came; train its last layer.")
    ] = False,
    framing: Annotated[
        str,
        typer.Option(
            help="Part of the image that the network sees: ink (the drawing, centered and scaled) or whole "
            "(the image).",
            show_default="the recipe's; whole in color",
        ),
    ] = "",
    learning_rate: Annotated[
        float | None, typer.Option(min=0, help="Peak learning rate, instead of the recipe's.")
    ] = None,
    precision: Annotated[
        str,
        typer.Option(help="float32, or mixed_bfloat16 where the processor has it."),
    ] = "float32",
    teacher: Annotated[
        list[Path] | None,
        typer.Option(
            help="A bundle of the same input, of any size, to learn from beside the labels; repeat it for several."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of weights and batches, instead of the recipe's.")
    ] = None,
    hold_out: Annotated[
        list[str] | None,
        typer.Option(
            help="A group to hold out from training; may be repeated.", show_default="every fifth group by name"
        ),
    ] = None,
    hold_out_every: Annotated[
        int, typer.Option(min=2, help="Hold out the first of every N groups, by name.", metavar="N")
    ] = 5,
    hold_out_classes: Annotated[
        bool, typer.Option("--hold-out-classes", help="Hold out single classes even where there are groups.")
    ] = False,
    max_unreadable: Annotated[
        int, typer.Option(min=0, help="Leave out at most this many images that cannot be read; one more is an error.")
    ] = 20,
    final_of: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a finished run: train its recipe once more, on all classes, the held-out ones too. "
            "Figures and calibration stay those of that run."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the interrupted run in RUN.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Train an embedding model on a tree of images and make a bundle of it.

    Whole groups (the folders above the class folders) are held out from training and used to measure and calibrate.
    Ctrl-C leaves a run that `--resume` goes on with.
    """
    from exemplar_encoder import Bundle, BundleError
    from exemplar_trainer.cli.console import fail, failures, notes
    from exemplar_trainer.data.files import refuse_missing
    from exemplar_trainer.data.image_set import DatasetError
    from exemplar_trainer.networks.pretrained import WeightsError, refuse_missing_weights
    from exemplar_trainer.recipes.options import OptionError, TrainOptions, recipe_from
    from exemplar_trainer.training.run_folder import CHECKPOINT, FILE, Run, RunError, finished_bundle, refuse_taken

    known = (DatasetError, RunError, WeightsError, BundleError, ValueError, OSError)
    teachers = tuple(str(path.absolute()) for path in teacher or ())

    def described() -> Run:
        """Return the run that the options ask for."""
        if resume:
            _refuse_options(context, "--resume goes on", ("data",))
            begun = Run.load(run)
            return begun if data is None else dataclasses.replace(begun, data=str(data.absolute()))
        if final_of is not None:
            _refuse_options(context, "--final-of trains", ("final_of", "name", "teacher"))
            refuse_taken(run)
            return Run.final(name, final_of, teachers)
        if data is None:
            raise typer.BadParameter("name a folder or zip of images, or --resume a run")
        refuse_taken(run)
        options = TrainOptions(
            recipe=recipe,
            loss=loss,
            steps=steps,
            size=size,
            color=color,
            backbone=backbone,
            weights=weights,
            frozen=frozen,
            framing=framing,
            learning_rate=learning_rate,
            precision=precision,
            seed=seed,
        )
        try:
            chosen = recipe_from(options)
        except OptionError as error:
            raise typer.BadParameter(str(error)) from error
        return Run(
            name=name or f"{data.stem}-{chosen.name}",
            recipe=chosen,
            data=str(data.absolute()),
            hold_out=tuple(hold_out or ()),
            max_unreadable=max_unreadable,
            hold_out_every=hold_out_every,
            hold_out_classes=hold_out_classes,
            teachers=teachers,
        )

    with failures(*known):
        asked = described()
        if finished_bundle(run) is None:
            refuse_missing(Path(asked.data))
            for path in asked.teachers:
                Bundle.load(path)
            if not (run / CHECKPOINT).exists():
                refuse_missing_weights(asked.recipe.weights)
    # TensorFlow takes seconds to import; nobody should wait for it to be told what was wrong.
    from exemplar_trainer.cli.backend import load_backend

    load_backend()
    from exemplar_trainer.bundles.from_run import finish_run
    from exemplar_trainer.cli.run_screen import RunScreen, outcome
    from exemplar_trainer.training.checkpoint import CheckpointError
    from exemplar_trainer.training.loop import DivergedError, TrainingStoppedError

    to_go_on = f"To go on: exemplar train --resume --run {shlex.quote(str(run))}"
    try:
        # What Keras prints of its downloads belongs with the progress, not with the outcome.
        kinds = (*known, CheckpointError, DivergedError)
        with failures(*kinds), redirect_stdout(sys.stderr), RunScreen(quiet=as_json) as screen:
            screen.begin(asked, run)
            bundle = finish_run(asked, run, screen.watcher(asked))
    except TrainingStoppedError as stopped:
        notes().print(f"Stopped after step {stopped.step:,}. {to_go_on}")
        raise typer.Exit(EXIT_STOPPED) from stopped
    except KeyboardInterrupt as stopped:  # while images are read, or after training
        notes().print(f"Stopped. {to_go_on if (run / FILE).exists() else 'Nothing was kept.'}")
        raise typer.Exit(EXIT_STOPPED) from stopped
    except ModuleNotFoundError as error:
        if error.name != "tensorflow" or not (run / CHECKPOINT).exists():
            raise
        fail(
            "the network is trained, but TensorFlow, which writes its bundle, is not installed here: copy "
            f"{run} to where it is, and there: exemplar train --resume --run RUN IMAGES"
        )
    screen.finish(bundle)
    if as_json:
        typer.echo(json.dumps(outcome(bundle), indent=1))


def _refuse_options(context: typer.Context, what: str, also: tuple[str, ...]) -> None:
    """Refuse options given again to a run that is resumed, or made final: it keeps those that it began with."""
    kept = ("run", "resume", "as_json", *also)
    given = [
        str(parameter.opts[-1] if parameter.opts[-1].startswith("-") else "the folder or zip")
        for parameter in context.command.params
        if parameter.name
        and parameter.name not in kept
        and getattr(context.get_parameter_source(parameter.name), "name", "") == "COMMANDLINE"
    ]
    if given:
        raise typer.BadParameter(f"{what} with the options of the run; leave out {', '.join(given)}")
