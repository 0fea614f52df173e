"""`exemplar evaluate`: accuracy of one bundle or several, on the same questions, as a table, JSON and a page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from exemplar_trainer.cli.console import counting, fail, failures, notes

if TYPE_CHECKING:
    from exemplar_encoder import Encoder
    from exemplar_trainer.data.reading import OnCount
    from exemplar_trainer.evaluation.tasks import Questions

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Measure how good bundles are on images they never saw."
)

Bundles = Annotated[
    list[Path],
    typer.Option("--bundle", "-b", help="Folder of a bundle; repeat it to compare several.", show_default=False),
]
Tree = Annotated[Path, typer.Argument(help="Folder or zip of images, .../GROUP/CLASS/IMAGE.", show_default=False)]
Ways = Annotated[list[int] | None, typer.Option(min=2, help="Classes a task; repeat it. Without it 20.")]
Within = Annotated[
    bool, typer.Option("--within-group", help="Take all classes of a task from one group, the hard way.")
]
Groups = Annotated[
    list[str] | None, typer.Option("--group", help="Ask about this group only; repeat it for several.")
]
HeldOut = Annotated[
    bool, typer.Option("--held-out", help="Ask about the groups that the first bundle's training held out.")
]
Number = Annotated[int, typer.Option(min=2, help="Tasks to draw.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the draw; the same seed asks the same questions.")]
MaxUnreadable = Annotated[int, typer.Option(min=0, help="Leave out up to this many images that cannot be read.")]
Html = Annotated[Path | None, typer.Option("--html", help="Write an HTML page with pictures to this file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")]

_WAYS = (20,)
_SIZES = (20, 200, 900)


@app.command()
def episodes(
    data: Tree,
    bundle: Bundles,
    way: Ways = None,
    shot: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Exemplars a class; repeat it. Without it 1, 2 and 5, as far as there are images."),
    ] = None,
    within_group: Within = False,
    group: Groups = None,
    held_out: HeldOut = False,
    number: Number = 400,
    seed: Seed = 0,
    max_unreadable: MaxUnreadable = 20,
    html: Html = None,
    as_json: AsJson = False,
) -> None:
    """Ask N-way K-shot episodes; exemplar and query come from different sources, where there are such images."""
    from exemplar_trainer.evaluation.episodes import Protocol
    from exemplar_trainer.evaluation.tree import episode_questions, read_tree, usual_shots

    def ask(encoder: Encoder, only: Sequence[str], on_count: OnCount) -> Iterator[Questions]:
        images = read_tree(data, encoder.bundle.manifest.preprocessing, only, max_unreadable, on_count)
        shots, left_out = (shot, ()) if shot else usual_shots(images)
        for classes, each in product(way or _WAYS, shots):
            asked = episode_questions(images, Protocol(classes, each, within_group), number, seed)
            yield replace(asked, notes=asked.notes + left_out)

    _evaluate(ask, bundle, [data], group or (), held_out, seed, html, as_json)


@app.command()
def runs(
    folder: Annotated[Path, typer.Argument(help="Folder of runNN/class_labels.txt and images.", show_default=False)],
    bundle: Bundles,
    html: Html = None,
    as_json: AsJson = False,
) -> None:
    """Ask the published runs: lines of "test-path training-path" in the class_labels.txt of each run."""
    from exemplar_trainer.evaluation.lake_runs import lake_runs

    def ask(encoder: Encoder, only: Sequence[str], on_count: OnCount) -> Iterator[Questions]:
        yield lake_runs(folder, encoder, on_count)

    _evaluate(ask, bundle, [folder], html=html, as_json=as_json)


@app.command()
def pairs(
    exemplars: Annotated[Path, typer.Argument(help="Folder to enroll from: CLASS.png or CLASS/IMAGE.")],
    queries: Annotated[Path, typer.Argument(help="Folder to ask about, classes named alike.")],
    bundle: Bundles,
    way: Annotated[
        list[int] | None,
        typer.Option(min=0, help="Classes a task, or 0 for one task with all of them; repeat it. Without it 0."),
    ] = None,
    number: Number = 400,
    seed: Seed = 0,
    max_unreadable: MaxUnreadable = 20,
    html: Html = None,
    as_json: AsJson = False,
) -> None:
    """Show classes in one folder (catalog pictures) and ask about them in another (photos)."""
    from exemplar_trainer.evaluation.folder_pairs import folder_pairs

    def ask(encoder: Encoder, only: Sequence[str], on_count: OnCount) -> Iterator[Questions]:
        for classes in way or (0,):
            yield folder_pairs(exemplars, queries, encoder, classes, number, seed, max_unreadable, on_count)

    _evaluate(ask, bundle, [exemplars, queries], seed=seed, html=html, as_json=as_json)


@app.command()
def openset(
    data: Tree,
    bundle: Bundles,
    way: Annotated[
        list[int] | None,
        typer.Option(
            min=2, help="Classes enrolled in a task; as many others are asked about. Repeat it. Without it 20."
        ),
    ] = None,
    shot: Annotated[list[int] | None, typer.Option(min=1, help="Exemplars a class; repeat it. Without it 1.")] = None,
    within_group: Within = False,
    group: Groups = None,
    held_out: HeldOut = False,
    number: Number = 400,
    seed: Seed = 0,
    max_unreadable: MaxUnreadable = 20,
    html: Html = None,
    as_json: AsJson = False,
) -> None:
    """Ask about classes that are not enrolled, too: are they told apart, at the rates promised?"""
    from exemplar_trainer.evaluation.episodes import Protocol
    from exemplar_trainer.evaluation.tree import open_set_questions, read_tree

    def ask(encoder: Encoder, only: Sequence[str], on_count: OnCount) -> Iterator[Questions]:
        images = read_tree(data, encoder.bundle.manifest.preprocessing, only, max_unreadable, on_count)
        for classes, shots in product(way or _WAYS, shot or (1,)):
            yield open_set_questions(images, Protocol(classes, shots, within_group), number, seed)

    _evaluate(ask, bundle, [data], group or (), held_out, seed, html, as_json)


@app.command()
def calibration(
    data: Tree,
    bundle: Annotated[Path, typer.Option("--bundle", "-b", help="Folder of a bundle.", show_default=False)],
    gallery_size: Annotated[
        list[int] | None, typer.Option(min=2, help="Classes enrolled; repeat it. Without it 20, 200 and 900.")
    ] = None,
    number: Annotated[int, typer.Option(min=1, help="Galleries of a kind for each held-out group.")] = 60,
    seed: Seed = 0,
    max_unreadable: MaxUnreadable = 20,
    as_json: AsJson = False,
) -> None:
    """Judge the fit of a calibration on groups that it was not fitted on, in small and large galleries."""
    _refuse_missing([bundle], [data])
    from exemplar_encoder import BundleError, load_encoder
    from exemplar_trainer.calibration.gallery_sizes import check_gallery_sizes
    from exemplar_trainer.data.image_set import DatasetError
    from exemplar_trainer.data.reading import read_images
    from exemplar_trainer.evaluation.provenance import held_out_of
    from exemplar_trainer.evaluation.tasks import EvaluationError
    from exemplar_trainer.reports.tables import print_sizes

    console = notes(quiet=as_json)
    with failures(BundleError, DatasetError, EvaluationError, OSError):
        encoder = load_encoder(bundle)
        held_out = held_out_of(encoder.bundle)  # before images are read, which takes longer
        with counting(console, "Reading") as on_count:
            images = read_images(data, encoder.bundle.manifest.preprocessing, max_unreadable, on_count)
        console.print(f"{bundle}: {len(images.labels):,} images to embed")
        embeddings = encoder.embed(images.pixels)
        with counting(console, "Judging") as on_count:
            sizes = gallery_size or _SIZES
            found = check_gallery_sizes(embeddings, images, held_out, sizes, number, seed, on_count)
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in found], indent=1))
    else:
        print_sizes(found)


def _evaluate(
    ask: Callable[[Encoder, Sequence[str], OnCount], Iterator[Questions]],
    bundles: Sequence[Path],
    data: Sequence[Path],
    groups: Sequence[str] = (),
    held_out: bool = False,
    seed: int | None = None,
    html: Path | None = None,
    as_json: bool = False,
) -> None:
    """Ask every bundle, print, and write the page."""
    if groups and held_out:
        raise typer.BadParameter("--held-out names the groups itself; leave one of the two out", param_hint="--group")
    _refuse_missing(bundles, data)
    from exemplar_encoder import BundleError, load_encoder
    from exemplar_trainer.data.image_set import DatasetError
    from exemplar_trainer.evaluation.episodes import EpisodeError
    from exemplar_trainer.evaluation.provenance import held_out_of
    from exemplar_trainer.evaluation.results import Result, results_of
    from exemplar_trainer.evaluation.tasks import EvaluationError, Terms
    from exemplar_trainer.reports.evaluation import render_evaluation
    from exemplar_trainer.reports.tables import as_json_result, print_results

    console = notes(quiet=as_json)
    results: list[Result] = []
    with failures(BundleError, DatasetError, EpisodeError, EvaluationError, OSError):
        encoders = [load_encoder(path) for path in bundles]
        only = held_out_of(encoders[0].bundle) if held_out else groups
        terms = Terms(tuple(map(str, data)), tuple(only), seed)
        for encoder in encoders:
            with counting(console, "Reading") as on_count:
                asked = list(ask(encoder, only, on_count))
            results += results_of(encoder, asked, terms, held_out, console.print)
    if as_json:
        typer.echo(json.dumps([as_json_result(result) for result in results], indent=1))
    else:
        print_results(results)
    if html:  # last, so that no page that cannot be written costs the figures
        try:
            html.write_text(render_evaluation("Evaluation", results), encoding="utf-8")
        except OSError as error:
            fail(f"the page cannot be written: {error}")
        console.print(f"Pictures and groups: {html}")


def _refuse_missing(bundles: Sequence[Path], data: Sequence[Path]) -> None:
    """Refuse bundles and data that are not there, before what takes seconds to import."""
    from exemplar_encoder import Bundle, BundleError
    from exemplar_trainer.data.files import refuse_missing
    from exemplar_trainer.data.image_set import DatasetError

    with failures(BundleError, DatasetError):
        for path in bundles:
            Bundle.load(path)
        for path in data:
            refuse_missing(path)
