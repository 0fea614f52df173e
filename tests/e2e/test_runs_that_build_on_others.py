"""A run may begin with another's weights, or be the final of another, where what is said of it stays true."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from exemplar_trainer.bundles.build import Origin
from exemplar_trainer.cli.train import app
from exemplar_trainer.networks import residual
from exemplar_trainer.training import run as running

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")

QUICK = ("--recipe", "seed", "--size", "20", "--steps", "1", "--loss", "nca")
FIRST_TWO = ("--hold-out", "Alphabet00", "--hold-out", "Alphabet01")


def train(*arguments: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "120"}).invoke(app, [str(argument) for argument in arguments])


def words_of(result: Result) -> str:
    return " ".join(result.stderr.split())


def train_only(*arguments: str | Path, origins: list[Origin] | None = None) -> Result:
    """The command, stopped by Ctrl-C when the network is trained and nothing is measured yet.

    `origins` is given what the bundle would say of the training.
    """

    def interrupt(network: object, origin: Origin, *rest: object) -> None:
        if origins is not None:
            origins.append(origin)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "make_bundle", interrupt)
        return train(*arguments)


def change(run: Path, **fields: object) -> None:
    """Make `run.json` say something else; a field that is None is left out, as older versions did."""
    described = {**json.loads((run / "run.json").read_text()), **fields}
    kept = {name: value for name, value in described.items() if value is not None}
    (run / "run.json").write_text(json.dumps(kept))


@pytest.fixture(scope="module")
def first(drawn_alphabets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a trained run without weights for classes, and with two alphabets held out."""
    run = tmp_path_factory.mktemp("first") / "run"
    assert train_only(drawn_alphabets, "--run", run, *QUICK, *FIRST_TWO).exit_code == 130
    return run


@pytest.fixture
def renamed(drawn_alphabets: Path, tmp_path: Path) -> Path:
    """The same images, but one class that is trained on has another name."""
    tree = shutil.copytree(drawn_alphabets, tmp_path / "renamed")
    symbol = min((tree / "Alphabet03").iterdir())
    symbol.rename(symbol.with_name("another"))
    return tree


# The weights of another run


def test_a_run_begins_with_another_that_held_out_as_much(first: Path, drawn_alphabets: Path, tmp_path: Path) -> None:
    begun = train_only(
        drawn_alphabets, "--run", tmp_path / "run", *QUICK, "--hold-out", "Alphabet01", "--start-from", first
    )
    assert begun.exit_code == 130, begun.stderr
    assert json.loads((tmp_path / "run" / "run.json").read_text())["held_out"] == ["Alphabet01"]


def test_weights_that_were_trained_on_what_is_held_out_are_refused(
    first: Path, drawn_alphabets: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done = train_only(
        *(drawn_alphabets, "--run", run, *QUICK, "--start-from", first),
        *("--hold-out", "Alphabet00", "--hold-out", "Alphabet04"),
    )
    assert done.exit_code == 1
    assert "was not trained with Alphabet04 held out" in words_of(done)
    assert "start from a run that held out as much" in words_of(done)
    assert not run.exists()


def test_weights_of_a_final_run_have_seen_everything(first: Path, drawn_alphabets: Path, tmp_path: Path) -> None:
    final = shutil.copytree(first, tmp_path / "final")
    change(final, final_of=str(first))
    done = train_only(drawn_alphabets, "--run", tmp_path / "run", *QUICK, *FIRST_TWO, "--start-from", final)
    assert done.exit_code == 1
    assert "was not trained with Alphabet00, Alphabet01 held out" in words_of(done)


def test_a_run_of_an_older_version_is_begun_with_once_its_bundle_says_what_it_held_out(
    first: Path, tiny_bundle: Path, drawn_alphabets: Path, tmp_path: Path
) -> None:
    older = shutil.copytree(first, tmp_path / "older")
    change(older, held_out=None)
    arguments = (drawn_alphabets, "--run", tmp_path / "run", *QUICK, "--start-from", older)
    done = train_only(*arguments, "--hold-out", "Alphabet05")
    assert done.exit_code == 1
    assert f"does not say what it holds out; first: exemplar train --resume --run {older}" in words_of(done)
    shutil.copytree(tiny_bundle, older / "bundle")  # with Alphabet00 and Alphabet05 held out
    assert train_only(*arguments, "--hold-out", "Alphabet05").exit_code == 130


def test_weights_for_classes_are_taken_over_for_the_same_classes_alone(
    drawn_alphabets: Path, renamed: Path, tmp_path: Path
) -> None:
    first, options = tmp_path / "first", (*QUICK[:-1], "nca-cosface")
    assert train_only(drawn_alphabets, "--run", first, *options).exit_code == 130
    done = train_only(renamed, "--run", tmp_path / "other", *options, "--start-from", first)
    assert done.exit_code == 1
    assert "trained on other classes, and some of its weights stand for them" in words_of(done)
    assert not (tmp_path / "other").exists()
    min((renamed / "Alphabet03" / "another").iterdir()).unlink()
    name = min((drawn_alphabets / "Alphabet03").iterdir()).name
    (renamed / "Alphabet03" / "another").rename(renamed / "Alphabet03" / name)
    assert train_only(renamed, "--run", tmp_path / "same", *options, "--start-from", first).exit_code == 130


def test_weights_without_any_for_classes_are_taken_over_for_others(
    first: Path, renamed: Path, tmp_path: Path
) -> None:
    done = train_only(renamed, "--run", tmp_path / "run", *QUICK, *FIRST_TWO, "--start-from", first)
    assert done.exit_code == 130, done.stderr


# What a run began with is gone


def test_a_run_goes_on_without_the_run_that_it_started_from_and_still_tells_of_it(
    first: Path, drawn_alphabets: Path, tmp_path: Path
) -> None:
    start, run = shutil.copytree(first, tmp_path / "start"), tmp_path / "run"
    began: list[Origin] = []
    words = (drawn_alphabets, "--run", run, *QUICK, *FIRST_TWO, "--seed", "7", "--start-from", start)
    assert train_only(*words, origins=began).exit_code == 130
    shutil.rmtree(start)
    went_on: list[Origin] = []
    done = train_only("--resume", "--run", run, origins=went_on)
    assert done.exit_code == 130, done.stderr
    assert went_on[0].training == began[0].training
    assert went_on[0].training["started_from"]["seed"] == 0
    change(run, started_from=None)  # as an older version left it
    assert train_only("--resume", "--run", run).exit_code == 130


def test_a_run_without_a_checkpoint_needs_the_run_that_it_starts_from(
    first: Path, drawn_alphabets: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(first, tmp_path / "run")
    change(run, start_from=str(tmp_path / "gone"))
    (run / "checkpoint.npz").unlink()
    done = train_only("--resume", "--run", run)
    assert done.exit_code == 1
    assert "gone holds no checkpoint.npz to start from" in words_of(done)


def test_a_run_goes_on_without_the_weights_file_that_it_began_with(first: Path, tmp_path: Path) -> None:
    run = shutil.copytree(first, tmp_path / "run")
    recipe = json.loads((run / "run.json").read_text())["recipe"]
    change(run, recipe={**recipe, "weights": str(tmp_path / "gone.weights.h5")})
    done = train_only("--resume", "--run", run)
    assert done.exit_code == 130, done.stderr


# Other data


def test_a_run_does_not_go_on_with_other_classes_unnoticed(
    first: Path, drawn_alphabets: Path, renamed: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(first, tmp_path / "run")
    done = train_only("--resume", renamed, "--run", run)
    assert done.exit_code == 1
    assert f"{renamed} holds other classes or images than {run} began with" in words_of(done)
    assert json.loads((run / "run.json").read_text())["data"] == str(drawn_alphabets)
    change(run, fingerprint=None, held_out=None)  # as an older version left it
    assert train_only("--resume", renamed, "--run", run).exit_code == 130


def test_a_final_run_is_refused_where_a_class_has_another_name(tiny_run: Path, renamed: Path, tmp_path: Path) -> None:
    measured = shutil.copytree(tiny_run, tmp_path / "measured")
    change(measured, data=str(renamed))
    done = train_only("--final-of", measured, "--run", tmp_path / "final")
    assert done.exit_code == 1
    assert f"{renamed} has changed since {measured} was measured: it holds other classes" in words_of(done)
    assert not (tmp_path / "final").exists()


def test_a_final_run_is_refused_where_the_network_is_built_otherwise_by_now(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(residual, "WIDTHS", (32, 64, 128, 144))
    done = train_only("--final-of", tiny_run, "--run", tmp_path / "final")
    assert done.exit_code == 1
    assert f"{tiny_run} measured another version of the network residual" in words_of(done)
    assert not (tmp_path / "final").exists()
