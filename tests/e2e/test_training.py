"""The command `exemplar train` from image tree to bundle, through interruptions, and what it refuses."""

from __future__ import annotations

import html.parser
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from exemplar_encoder import Bundle
from exemplar_encoder.bundle import REPORT
from exemplar_trainer.training import loop
from tests.e2e.training_command import train, train_only, trained, words_of

STEPS = 6
SMALL = ("--name", "small", "--recipe", "seed", "--loss", "nca-cosface", "--size", "20", "--steps", str(STEPS))

# The command, with a record of every step and a checkpoint after every step, that gets a signal during a step.
SIGNALED = """
import os, sys
from exemplar_trainer.cli.backend import load_backend
load_backend()
from exemplar_trainer.cli.train import app
from exemplar_trainer.training import loop
from exemplar_trainer.training.learner import MetricLearner

number, last = int(sys.argv.pop(1)), int(sys.argv.pop(1))
loop.CHECKPOINT_SECONDS, loop.LOG_STEPS = 0, 1
train_on_batch, taken = MetricLearner.train_on_batch, []

def step(*arguments):
    loss = train_on_batch(*arguments)
    taken.append(loss)
    if len(taken) == last:
        os.kill(os.getpid(), number)
    return loss

MetricLearner.train_on_batch = step
app()
"""


def signaled(number: signal.Signals, step: int, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command as a process that gets a signal in the middle of its `step`th step."""
    return subprocess.run(
        [sys.executable, "-c", SIGNALED, str(int(number)), str(step), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "120"},
        timeout=280,
    )


def records(run: Path) -> list[tuple[float, float, float]]:
    lines = [json.loads(line) for line in (run / "training.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss"], line["learning_rate"]) for line in lines]


def checkpoint(run: Path) -> dict[str, npt.NDArray[Any]]:
    with np.load(run / "checkpoint.npz") as saved:
        return {name: saved[name] for name in saved.files}


@pytest.fixture(scope="module")
def finished(drawn_alphabets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that nothing interrupted."""
    run = tmp_path_factory.mktemp("finished") / "[run]"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "LOG_STEPS", 1)
        trained(drawn_alphabets, "--run", run, *SMALL)
    return run


def test_the_images_that_were_left_out_are_counted_named_and_listed_in_the_run(
    drawn_alphabets: Path, tmp_path: Path
) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    shutil.copytree(drawn_alphabets, data)
    bad = sorted(path for path in data.rglob("*.png") if path.name.endswith("1.png"))[:7]
    for path in bad:
        path.write_bytes(b"no image")
    done = train_only(data, "--run", run, *SMALL)
    said = words_of(done)
    assert f"7 images left out, for want of being readable; all are listed in {run / 'left-out.txt'}" in said
    names = [path.relative_to(data).as_posix() for path in bad]
    assert [name in said for name in names] == [True] * 5 + [False] * 2
    listed = (run / "left-out.txt").read_text().splitlines()
    assert [line.partition(": ")[0] for line in listed] == names
    assert all("not an image" in line for line in listed)


# Interruptions


@dataclass(frozen=True)
class Interrupted:
    """A run that was stopped by Ctrl-C, gone on with, killed, gone on with, and so trained to its end."""

    folder: Path
    stopped: subprocess.CompletedProcess[str]
    step_at_stop: int
    killed: subprocess.CompletedProcess[str]
    step_at_kill: int


@pytest.fixture(scope="module")
def interrupted(drawn_alphabets: Path, tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    run = tmp_path_factory.mktemp("interrupted") / "run"
    stopped = signaled(signal.SIGINT, 2, drawn_alphabets, "--run", run, *SMALL)
    step_at_stop = int(checkpoint(run)["step"])
    killed = signaled(signal.SIGKILL, 3, "--resume", "--run", run)
    step_at_kill = int(checkpoint(run)["step"])
    with (run / "training.jsonl").open("a") as log:  # what a crash between two writes can leave
        log.write(f'{{"step": {STEPS}, "loss": 1e9, "learning_rate": 1, "images_per_second": 1}}\n{{"step": 6')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "LOG_STEPS", 1)
        assert train_only("--resume", "--run", run).exit_code == 130
    return Interrupted(run, stopped, step_at_stop, killed, step_at_kill)


@pytest.mark.slow
@pytest.mark.process
def test_ctrl_c_ends_a_run_after_the_step_in_hand_and_says_how_to_go_on(interrupted: Interrupted) -> None:
    assert interrupted.stopped.returncode == 130, interrupted.stopped.stderr
    assert interrupted.step_at_stop == 2
    assert "Stopped after step 2." in interrupted.stopped.stderr
    assert f"exemplar train --resume --run {interrupted.folder}" in " ".join(interrupted.stopped.stderr.split())
    assert "Traceback" not in interrupted.stopped.stderr


@pytest.mark.slow
@pytest.mark.process
def test_a_killed_run_goes_on_from_its_checkpoint(interrupted: Interrupted) -> None:
    assert interrupted.killed.returncode == -signal.SIGKILL
    assert interrupted.step_at_kill == 2 + 3 - 1  # the step that it died in is lost
    assert int(checkpoint(interrupted.folder)["step"]) == STEPS


@pytest.mark.slow
@pytest.mark.process
def test_an_interrupted_run_ends_with_the_records_and_weights_of_another_bit_for_bit(
    interrupted: Interrupted, finished: Path
) -> None:
    assert [step for step, _, _ in records(finished)] == list(range(1, STEPS + 1))
    assert records(interrupted.folder) == records(finished)
    ours, theirs = checkpoint(interrupted.folder), checkpoint(finished)
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


# A finished run


@pytest.mark.slow
def test_resuming_a_finished_run_changes_nothing_and_prints_its_outcome_as_json(finished: Path) -> None:
    before = Bundle.load(finished / "bundle")
    done = train("--resume", "--run", finished, "--json")
    assert done.exit_code == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["id"] == before.id == Bundle.load(finished / "bundle").id
    assert outcome["bundle"] == str(finished / "bundle")
    assert {figure["name"]: figure["value"] for figure in outcome["figures"]} == {
        figure.name: figure.value for figure in before.figures
    }


@pytest.mark.slow
def test_a_damaged_bundle_is_made_again(finished: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    (run / "bundle" / REPORT).write_text("no report")
    done = train_only("--resume", "--run", run)
    assert done.exit_code == 130, "the network is measured anew, which this test does not wait for"
    assert "Measuring and calibrating" in done.stderr


class Page(html.parser.HTMLParser):
    """Collects what a page refers to, and the tags that were never closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
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


@pytest.mark.slow
def test_the_report_needs_nothing_from_outside_and_tells_of_the_run_and_its_figures(finished: Path) -> None:
    bundle = Bundle.load(finished / "bundle")
    text = (bundle.path / REPORT).read_text()
    page = Page(text)
    assert page.open == []
    assert len(page.references) > 10
    assert all(reference.startswith("data:image/png;base64,") for reference in page.references)
    assert "@import" not in text
    assert "url(" not in text
    assert "Alphabet00, Alphabet05" in text  # held out
    assert "random weights" in text
    for figure in bundle.figures:
        if figure.low is not None:
            assert f"{figure.value:.1%}" in text, figure.name


# Refusals


@pytest.mark.process
def test_help_names_every_option_and_does_not_wait_for_tensorflow() -> None:
    program = """
import sys
from exemplar.cli import main
sys.argv = ["exemplar", "train", "--help"]
try:
    main()
finally:
    print([n for n in ("exemplar_trainer.cli.train", "keras", "tensorflow") if n in sys.modules], file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "COLUMNS": "120"},
    )
    assert done.stderr.splitlines()[-1] == "['exemplar_trainer.cli.train']"
    for option in ("--run", "--recipe", "--loss", "--steps", "--hold-out", "--resume", "--json", "--max-unreadable"):
        assert option in done.stdout


def test_bad_data_is_one_sentence_and_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    done = train(tmp_path, "--run", tmp_path / "run")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert f"exemplar: {tmp_path} holds no images" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_folder_that_holds_a_run_is_refused_and_left_alone(finished: Path, drawn_alphabets: Path) -> None:
    before = (finished / "run.json").read_bytes()
    done = train(drawn_alphabets, "--run", finished)
    assert done.exit_code == 1
    assert f"exemplar: {finished} already holds a run; add --resume" in words_of(done)
    assert (finished / "run.json").read_bytes() == before


def test_a_run_that_is_refused_can_be_started_again_in_the_same_folder(tmp_path: Path, drawn_alphabets: Path) -> None:
    run = tmp_path / "run"
    for arguments in (("/no/such/data",), (drawn_alphabets, "--hold-out", "Klingon")):
        assert train(*arguments, "--run", run).exit_code == 1
        assert not run.exists()
    refused = train(drawn_alphabets, "--run", run, "--recipe", "seed", "--size", "32")
    assert refused.exit_code == 1
    assert "multiples of 20, not 32x32" in refused.stderr
    assert not run.exists()


@pytest.mark.parametrize("name", ["[bold]data[/nope]", "[/]", ":smile:", "[link=x]y"])
def test_names_with_brackets_and_colons_are_printed_as_they_are(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir(parents=True)
    done = train(tmp_path / name, "--run", tmp_path / "run")
    assert done.exit_code == 1
    assert f"Training {Path(name).stem}-default with recipe default" in done.stderr
    assert f"{name} holds no images" in done.stderr


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
    done = train(*arguments, "--run", tmp_path / "run")
    assert done.exit_code == 2
    assert words in words_of(done)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"{}", b'{"recipe": 5}', b"\xff"])
def test_a_folder_without_a_usable_run_cannot_be_resumed(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "run.json").write_bytes(content)
    done = train("--resume", "--run", tmp_path)
    assert done.exit_code == 1
    assert done.stderr.startswith("exemplar: ")
    assert "run.json" in done.stderr
