"""`exemplar models fetch`: a published vision model in a folder that `exemplar export --model` reads.

The folder holds the network, `model.onnx`, as its home has it; the preprocessing that goes with it, and whose it is
under which license. The last two are written here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from exemplar.commands.output import print_error, print_json, print_line, print_table
from exemplar.download import DownloadError, download, part_of, sha256_of
from exemplar.published_models import PUBLISHED, PublishedModel

NETWORK = "model.onnx"
PREPROCESSING = "preprocessor_config.json"
ORIGIN = "ORIGIN.txt"


def fetch(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The model; without it, they are listed.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder to put it in.", show_default="the model's name"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Fetch a published vision model for `exemplar export --model`, or list those that there are.

    A download that was cut goes on where it ended when the command is given again. Where there is no way to the web,
    fetch the file elsewhere, put it into the folder as `model.onnx`, and give the command: it is verified and taken.
    """
    if name is None:
        if output is not None:
            raise typer.BadParameter("--output is for a model: name one")
        _list(as_json)
        return
    if name not in PUBLISHED:
        raise typer.BadParameter(f"there is no published model {name!r} here; there are {', '.join(PUBLISHED)}")
    model, folder = PUBLISHED[name], output or Path(name)
    try:
        fetch_model(model, folder, quiet=as_json)
    except DownloadError as error:
        print_error(f"{error}; {_by_hand(model, folder)}")
        raise typer.Exit(1) from error
    except OSError as error:
        print_error(f"{folder} cannot be written: {error.strerror or error}")
        raise typer.Exit(1) from error
    if as_json:
        print_json({"model": model.name, "folder": str(folder), "sha256": model.sha256, "license": model.license})
    else:
        print_line(f"{folder} holds {model.name}, under {model.license}: {model.credit}.")
        print_line(f"Next: exemplar export PICTURES --model {folder} -o BUNDLE")


def fetch_model(model: PublishedModel, folder: Path, quiet: bool = False) -> None:
    """Bring a model into a folder, which is made if need be; a file that is there already is verified and taken.

    Raises:
        DownloadError: it cannot be had, or what is there is another file; the message is a sentence.
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    network = folder / NETWORK
    if network.exists():
        found = sha256_of(network)
        if found != model.sha256:
            raise DownloadError(
                f"{network} is not {model.name}: its SHA-256 is {found}, not {model.sha256}; move it away first"
            )
    else:
        try:
            _download(model, network, quiet)
        except DownloadError as error:
            raise type(error)(f"{model.url}: {error}") from error
    (folder / PREPROCESSING).write_text(json.dumps(model.preprocessing, indent=2) + "\n", encoding="utf-8")
    (folder / ORIGIN).write_text(_origin(model), encoding="utf-8")


def _download(model: PublishedModel, network: Path, quiet: bool) -> None:
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    ) as progress:
        task = progress.add_task(model.name, total=model.size)

        def told(done: int) -> None:
            progress.update(task, completed=done)

        download(model.url, network, model.size, model.sha256, told)


def _by_hand(model: PublishedModel, folder: Path) -> str:
    """Return what to do where the file does not come by itself."""
    begun = part_of(folder / NETWORK)
    again = "give the command again to go on from there, or " if begun.exists() else ""
    return (
        f"{again}fetch that file by other means, put it at {folder / NETWORK}, and give the command again, "
        "which verifies it"
    )


def _origin(model: PublishedModel) -> str:
    return (
        f"{model.name}: {model.summary}.\n\n"
        f"{model.credit}.\n"
        f"License: {model.license} (https://spdx.org/licenses/{model.license}.html)\n"
        f"Home: https://huggingface.co/{model.repository}/tree/{model.revision}\n"
        f"File: {model.path}, {model.size:,} bytes\n"
        f"SHA-256: {model.sha256}\n\n"
        f"{PREPROCESSING} was written by `exemplar models fetch`, after the home's own.\n"
    )


def _list(as_json: bool) -> None:
    if as_json:
        keys = ("name", "summary", "input", "size", "sha256", "license", "credit", "url")
        print_json({"models": [{key: getattr(each, key) for key in keys} for each in PUBLISHED.values()]})
        return
    print_table(
        ["model", "what it is", "input", "size", "license"],
        [
            [each.name, each.summary, each.input, f"{each.size / 1e6:.0f} MB", each.license]
            for each in PUBLISHED.values()
        ],
        right=("size",),
    )
