"""A run may go on, learn from finished ones, or be the final of one, where what is said of it stays true."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from exemplar_encoder import Bundle
from exemplar_encoder.bundle import REPORT
from exemplar_trainer.cli.evaluate import app as evaluation
from exemplar_trainer.networks import NETWORKS, residual_network
from tests.e2e.training_command import train, train_only, trained, words_of
from tests.trainer.flags import draw_flags

QUICK = ("--recipe", "seed", "--color", "--size", "40x20", "--steps", "2")
SINGLE_CLASSES = ("--hold-out-classes", "--hold-out-every", "3")
HELD_OUT = ["flag00", "flag03", "flag06", "flag09"]

pytestmark = pytest.mark.slow


def change(run: Path, **fields: object) -> None:
    """Make `run.json` say something else."""
    described = {**json.loads((run / "run.json").read_text()), **fields}
    (run / "run.json").write_text(json.dumps(described))


@pytest.fixture(scope="module")
def flags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_flags(tmp_path_factory.mktemp("flags") / "flags")


@pytest.fixture(scope="module")
def measured(flags: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run with every third class held out."""
    run = tmp_path_factory.mktemp("measured") / "run"
    trained(flags, "--run", run, *QUICK, *SINGLE_CLASSES)
    return run


@pytest.fixture
def renamed(flags: Path, tmp_path: Path) -> Path:
    """The same images, but one class that is trained on has another name."""
    tree = shutil.copytree(flags, tmp_path / "renamed")
    (tree / "flag01").rename(tree / "flag01a")
    return tree


def test_single_classes_are_held_out_and_can_be_asked_about_again(measured: Path, flags: Path) -> None:
    bundle = Bundle.load(measured / "bundle")
    assert bundle.manifest.training["held_out"] == HELD_OUT
    words = ["episodes", str(flags), "-b", str(bundle.path), "--held-out", "--way", "4", "--number", "5", "--json"]
    done = CliRunner().invoke(evaluation, words)
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)


# A final run


@pytest.fixture(scope="module")
def final(measured: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return trained("--final-of", measured, "--run", tmp_path_factory.mktemp("final") / "run", "--name", "all")


def test_a_final_run_trains_on_all_classes_and_keeps_the_measured_figures(measured: Path, final: Bundle) -> None:
    before = Bundle.load(measured / "bundle")
    assert final.manifest.training["training_classes"] == 12
    assert before.manifest.training["training_classes"] == 8
    assert final.figures == before.figures
    assert final.calibration == before.calibration
    assert final.manifest.name == "all"
    assert not np.array_equal(final.golden()[1], before.golden()[1])  # another network


def test_a_final_bundle_says_that_nothing_was_held_out_from_it(final: Bundle, flags: Path) -> None:
    assert final.manifest.training["held_out"] == []
    assert final.manifest.training["measured_without"] == HELD_OUT
    assert "was then trained on all classes, these too" in (final.path / REPORT).read_text()
    done = CliRunner().invoke(evaluation, ["episodes", str(flags), "-b", str(final.path), "--held-out"])
    assert done.exit_code == 1
    assert "Name the one that it was measured by, whose training held out flag00, flag03" in words_of(done)


def test_a_final_run_needs_a_finished_one_that_held_something_out(
    measured: Path, final: Bundle, tmp_path: Path
) -> None:
    run, unfinished = tmp_path / "run", shutil.copytree(measured, tmp_path / "unfinished")
    shutil.rmtree(unfinished / "bundle")
    for folder, words in (
        (tmp_path / "nothing", "holds no run: run.json is missing"),
        (unfinished, f"has no bundle yet: exemplar train --resume --run {unfinished}"),
        (final.path.parent, "was itself trained on all classes"),
    ):
        done = train("--final-of", folder, "--run", run)
        assert done.exit_code == 1
        assert words in words_of(done)
    done = train("--final-of", measured, "--run", run, "--steps", "9")
    assert done.exit_code == 2
    assert "leave out --steps" in words_of(done)
    assert not run.exists()


def test_a_final_run_is_refused_where_the_data_have_changed(measured: Path, renamed: Path, tmp_path: Path) -> None:
    run = shutil.copytree(measured, tmp_path / "measured")
    change(run, data=str(renamed))
    done = train_only("--final-of", run, "--run", tmp_path / "final")
    assert done.exit_code == 1
    assert f"{renamed} has changed since {run} was measured: it holds other classes or images" in words_of(done)
    assert not (tmp_path / "final").exists()


def test_a_final_run_is_refused_where_the_network_is_built_otherwise_by_now(
    measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NETWORKS, "seed", residual_network)
    done = train_only("--final-of", measured, "--run", tmp_path / "final")
    assert done.exit_code == 1
    assert f"{measured} measured another version of the network seed" in words_of(done)
    assert not (tmp_path / "final").exists()


# Teachers


def test_a_run_learns_from_finished_ones_and_says_from_which(
    measured: Path, final: Bundle, flags: Path, tmp_path: Path
) -> None:
    taught = trained(
        *(flags, "--run", tmp_path / "taught", *QUICK, *SINGLE_CLASSES),
        *("--teacher", measured / "bundle", "--hold-out", "flag06", "--hold-out", "flag00"),
        *("--hold-out", "flag03", "--hold-out", "flag09"),
    )
    teacher = Bundle.load(measured / "bundle")
    assert taught.manifest.training["teachers"] == [{"name": teacher.manifest.name, "id": teacher.id}]
    assert str(tmp_path) not in taught.manifest.to_json()
    assert "taught by" in (taught.path / REPORT).read_text()
    # A final run measures nothing, so it may learn from a network that has seen everything; else from the same one.
    words = ("--final-of", tmp_path / "taught", "--run")
    assert train_only(*words, tmp_path / "again").exit_code == 130
    assert train_only(*words, tmp_path / "other", "--teacher", final.path).exit_code == 130
    again, other = (json.loads((tmp_path / name / "run.json").read_text()) for name in ("again", "other"))
    assert again["teachers"] == [str(measured / "bundle")]
    assert other["teachers"] == [str(final.path)]


def test_a_teacher_that_has_seen_what_is_held_out_is_refused(final: Bundle, flags: Path, tmp_path: Path) -> None:
    done = train(flags, "--run", tmp_path / "run", *QUICK, "--teacher", final.path)
    assert done.exit_code == 1
    assert "was not trained with bright held out" in words_of(done)
    assert not (tmp_path / "run").exists()


def test_a_teacher_that_is_no_bundle_is_refused(flags: Path, tmp_path: Path) -> None:
    done = train(flags, "--run", tmp_path / "run", *QUICK, "--teacher", tmp_path / "nobody")
    assert done.exit_code == 1
    assert "is not a bundle: there is no such folder" in words_of(done)
    assert not (tmp_path / "run").exists()


# The bundle or weights that a run began with are gone, or another


def test_a_run_goes_on_without_the_weights_file_that_it_began_with(measured: Path, tmp_path: Path) -> None:
    run = shutil.copytree(measured, tmp_path / "run")
    shutil.rmtree(run / "bundle")
    recipe = json.loads((run / "run.json").read_text())["recipe"]
    change(run, recipe={**recipe, "weights": str(tmp_path / "gone.weights.h5")})
    done = train_only("--resume", "--run", run)
    assert done.exit_code == 130, done.stderr
    (run / "checkpoint.npz").unlink()
    done = train_only("--resume", "--run", run)
    assert done.exit_code == 1
    assert "gone.weights.h5" in done.stderr


def test_a_run_goes_on_with_its_data_elsewhere_but_not_with_other_classes(
    measured: Path, flags: Path, renamed: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(measured, tmp_path / "run")
    shutil.rmtree(run / "bundle")
    done = train_only("--resume", renamed, "--run", run)
    assert done.exit_code == 1
    assert f"{renamed} holds other classes or images than {run} began with" in words_of(done)
    assert json.loads((run / "run.json").read_text())["data"] == str(flags)
    moved = shutil.copytree(flags, tmp_path / "moved")
    assert train_only("--resume", moved, "--run", run).exit_code == 130
    assert json.loads((run / "run.json").read_text())["data"] == str(moved)
