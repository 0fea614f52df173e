"""The command `exemplar train`, as a process: from image tree to bundle, through interruptions."""

from __future__ import annotations

import html.parser
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner, Result

from exemplar_encoder import Bundle, load_encoder
from exemplar_trainer.cli.train import app

EXEMPLAR = str(Path(sys.executable).with_name("exemplar"))
ENVIRONMENT = {**os.environ, "COLUMNS": "120"}
TINY = ("--name", "tiny", "--steps", "60", "--size", "32")  # as the run of the fixture tiny_run

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")

# The command itself, but with a checkpoint after every step, so that a test need not wait a minute for one.
EAGER = (
    sys.executable,
    "-c",
    "import exemplar_trainer.training.loop as fit; fit.CHECKPOINT_SECONDS = 0\n"
    "from exemplar_trainer.cli.train import main; main()",
)


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [EXEMPLAR, "train", *map(str, arguments)], capture_output=True, text=True, env=ENVIRONMENT, timeout=200
    )


def called(*arguments: str | Path) -> Result:
    """The command in this process, which has TensorFlow loaded already."""
    return CliRunner(env={"COLUMNS": "120"}).invoke(app, [str(argument) for argument in arguments])


def start(*words: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    )


def wait_until(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def records(run: Path) -> list[dict[str, float]]:
    log = run / "training.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def checkpoint(run: Path) -> dict[str, np.ndarray]:
    with np.load(run / "checkpoint.npz") as saved:
        return {name: saved[name] for name in saved.files}


# Interruptions


@dataclass(frozen=True)
class Interrupted:
    """A run that was stopped by Ctrl-C, gone on with, killed, gone on with, and so finished."""

    folder: Path
    stopped_code: int
    stopped_words: str
    step_at_stop: int
    step_at_kill: int
    finished: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def interrupted(drawn_alphabets: Path, tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    run = tmp_path_factory.mktemp("interrupted") / "run"
    first = start(EXEMPLAR, "train", drawn_alphabets, "--run", run, *TINY)
    wait_until(first, lambda: len(records(run)) >= 1)
    first.send_signal(signal.SIGINT)
    words = first.communicate(timeout=120)[1]
    step_at_stop = int(checkpoint(run)["step"])

    second = start(*EAGER, "--resume", "--run", run)
    wait_until(second, lambda: len(records(run)) >= 2)
    second.kill()
    second.communicate(timeout=120)
    step_at_kill = int(checkpoint(run)["step"])
    with (run / "training.jsonl").open("a") as log:  # what a crash between two writes can leave
        log.write('{"step": 60, "loss": 1e9, "learning_rate": 1, "images_per_second": 1}\n{"step": 6')

    return Interrupted(run, first.returncode, words, step_at_stop, step_at_kill, command("--resume", "--run", run))


def test_ctrl_c_ends_a_run_with_130_and_says_how_to_go_on(interrupted: Interrupted) -> None:
    assert interrupted.stopped_code == 130
    assert f"Stopped after step {interrupted.step_at_stop}." in interrupted.stopped_words
    assert f"exemplar train --resume --run {interrupted.folder}" in interrupted.stopped_words
    assert "Traceback" not in interrupted.stopped_words
    assert 20 <= interrupted.step_at_stop < 60


def test_a_killed_run_goes_on_from_its_checkpoint(interrupted: Interrupted) -> None:
    assert interrupted.step_at_stop < interrupted.step_at_kill < 60
    assert interrupted.finished.returncode == 0, interrupted.finished.stderr
    assert int(checkpoint(interrupted.folder)["step"]) == 60


def test_an_interrupted_run_records_what_an_uninterrupted_one_does(interrupted: Interrupted, tiny_run: Path) -> None:
    def schedule(run: Path) -> list[tuple[float, float, float]]:
        return [(record["step"], record["loss"], record["learning_rate"]) for record in records(run)]

    assert [step for step, _, _ in schedule(tiny_run)] == [20, 40, 60]
    assert schedule(interrupted.folder) == schedule(tiny_run)


def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one_bit_for_bit(
    interrupted: Interrupted, tiny_run: Path
) -> None:
    ours, theirs = checkpoint(interrupted.folder), checkpoint(tiny_run)
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_an_interrupted_run_measures_the_same_figures(interrupted: Interrupted, tiny_run: Path) -> None:
    ours, theirs = Bundle.load(interrupted.folder / "bundle"), Bundle.load(tiny_run / "bundle")
    assert ours.figures == theirs.figures
    assert ours.calibration == theirs.calibration
    assert np.array_equal(ours.cohort, theirs.cohort)


def test_resuming_a_finished_run_changes_nothing_and_prints_its_outcome_as_json(tiny_run: Path) -> None:
    before = Bundle.load(tiny_run / "bundle")
    done = command("--resume", "--run", tiny_run, "--json")
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["id"] == before.id == Bundle.load(tiny_run / "bundle").id
    assert outcome["bundle"] == str(tiny_run / "bundle")
    assert {figure["name"]: figure["value"] for figure in outcome["figures"]} == {
        figure.name: figure.value for figure in before.figures
    }


# What a run leaves


def test_a_run_writes_scalars_for_tensorboard(interrupted: Interrupted, tiny_run: Path) -> None:
    for run in (tiny_run, interrupted.folder):
        events = EventAccumulator(str(run / "tensorboard")).Reload()
        for name in ("loss", "learning_rate", "images_per_second"):
            values = {event.step: event.tensor_proto.float_val[0] for event in events.Tensors(name)}
            expected = {record["step"]: record[name] for record in records(run)}
            assert values.keys() == expected.keys()
            if name == "loss":
                assert values == pytest.approx(expected)


class Page(html.parser.HTMLParser):
    """Collects what a page refers to, the heads of its tables, and the tags that were never closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.heads: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.references.extend(
            value or "" for name, value in attributes if name in ("src", "href", "srcset", "action")
        )
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "th":
            self.heads.append(data)


def test_the_report_is_one_page_that_needs_nothing_from_outside(tiny_run: Path) -> None:
    text = (tiny_run / "bundle" / "report.html").read_text()
    page = Page(text)
    assert page.open == []
    assert len(page.references) > 10
    assert all(reference.startswith("data:image/png;base64,") for reference in page.references)
    assert "@import" not in text
    assert "url(" not in text


def test_the_report_tells_how_known_and_unknown_queries_are_told_apart(tiny_run: Path) -> None:
    text = (tiny_run / "bundle" / "report.html").read_text()
    figures = {figure.name: figure.value for figure in Bundle.load(tiny_run / "bundle").figures}
    auroc, rate = "AUROC, known against unknown", "unknown accepted where 95 % of known are"
    assert f"<td>{auroc}</td><td>{figures[auroc]:.3f}</td>" in text
    assert f"<td>{rate}</td><td>{figures[rate]:.1%}</td>" in text
    assert f">{figures['OSCR']:.3f}<" in text
    assert 'alt="ROC and OSCR"' in text


def test_the_report_has_the_tables_of_accuracy_and_of_false_accepts(tiny_run: Path) -> None:
    text = (tiny_run / "bundle" / "report.html").read_text()
    heads = Page(text).heads
    assert heads[:4] == ["episodes", "accuracy", "95 % interval", "episodes drawn"]
    assert "false accepts asked for" in heads
    for figure in Bundle.load(tiny_run / "bundle").figures:
        if figure.low is not None:
            assert f"<td>{figure.name.removesuffix(' accuracy')}</td><td>{figure.value:.1%}</td>" in text
    assert "Alphabet00, Alphabet05" in text  # what was held out


# Refusals

RUNS = "already holds a run; add --resume"


def test_help_names_every_option() -> None:
    done = command("--help")
    assert done.returncode == 0
    for option in ("--run", "--recipe", "--loss", "--steps", "--hold-out", "--resume", "--json", "--max-unreadable"):
        assert option in done.stdout


def test_help_does_not_wait_for_tensorflow() -> None:
    program = """
import sys
from exemplar.cli import main
sys.argv = ["exemplar", "train", "--help"]
try:
    main()
finally:
    print([n for n in ("exemplar_trainer.cli.train", "keras", "tensorflow") if n in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stderr.splitlines()[-1] == "['exemplar_trainer.cli.train']"


def test_bad_data_is_one_sentence_and_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    done = command(tmp_path, "--run", tmp_path / "run")
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    assert line.startswith(f"Error: {tmp_path} holds no images")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_a_run_is_refused_and_left_alone(tiny_run: Path, drawn_alphabets: Path) -> None:
    before = (tiny_run / "run.json").read_bytes()
    done = called(drawn_alphabets, "--run", tiny_run)
    assert done.exit_code == 1
    assert f"Error: {tiny_run} {RUNS}" in done.stderr
    assert (tiny_run / "run.json").read_bytes() == before


def test_a_run_that_is_refused_can_be_started_again_in_the_same_folder(tmp_path: Path, drawn_alphabets: Path) -> None:
    run = tmp_path / "run"
    for arguments in (("/no/such/data",), (drawn_alphabets, "--hold-out", "Klingon")):
        assert called(*arguments, "--run", run).exit_code == 1
        assert not run.exists()
    refused = called(drawn_alphabets, "--run", run, "--recipe", "seed", "--size", "32")
    assert refused.exit_code == 1
    assert "multiples of 20, not 32x32" in refused.stderr
    assert not run.exists()


@pytest.mark.parametrize("name", ["[bold]data[/nope]", "[/]", ":smile:", "[link=x]y"])
def test_names_with_brackets_and_colons_are_printed_as_they_are(tmp_path: Path, name: str) -> None:
    done = called(tmp_path / name, "--run", tmp_path / "run")
    assert done.exit_code == 1
    assert f"Training {Path(name).stem}-default with recipe default" in done.stderr
    assert f"{name}: there is no such folder or zip file" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("data", "--recipe", "best"), "there is no recipe 'best'"),
        (("data", "--loss", "best"), "there is no loss 'best'"),
        (("data", "--steps", "0"), "steps"),
        (("data", "--seed", "-1"), "seed"),
        (("data", "--resume", "--steps", "5"), "leave out --steps"),
        ((), "name a folder or zip"),
    ],
)
def test_wrong_usage_is_exit_code_2(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    done = called(*arguments, "--run", tmp_path / "run")
    assert done.exit_code == 2
    assert words in " ".join(done.stderr.replace("│", " ").split())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"{}", b'{"recipe": 5}', b"\xff"])
def test_a_folder_without_a_usable_run_cannot_be_resumed(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "run.json").write_bytes(content)
    done = called("--resume", "--run", tmp_path)
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: ")
    assert "run.json" in done.stderr


# Recipe seed


def test_recipe_seed_trains_in_color_on_a_set_of_few_classes_without_groups(
    tmp_path: Path, drawn_alphabets: Path
) -> None:
    data = drawn_alphabets / "Alphabet03"  # eight classes and no group
    done = called(
        *(data, "--run", tmp_path / "[run]", "--recipe", "seed", "--steps", "3", "--size", "40", "--color", "--json")
    )
    assert done.exit_code == 0, done.stderr
    bundle = Bundle.load(json.loads(done.stdout)["bundle"])
    assert bundle.manifest.preprocessing.shape == (40, 40, 3)
    assert bundle.manifest.dimension == 256
    assert not [figure.name for figure in bundle.figures if "within-group" in figure.name]
    assert "unstructured 4-way 1-shot accuracy" in [figure.name for figure in bundle.figures]
    encoder = load_encoder(bundle.path, threads=1)
    image = next(data.rglob("*.png")).read_bytes()
    assert encoder.embed(encoder.prepare(image).pixels[None]).shape == (1, 256)


def test_the_losses_can_be_listed() -> None:
    done = called("--list-losses")
    assert done.exit_code == 0
    assert "nca-cosface" in done.stdout.split()
