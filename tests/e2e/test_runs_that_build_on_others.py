"""A run may begin with another's weights, or be the final of another, where what is said of it stays true."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from exemplar_trainer import run as running
from exemplar_trainer.cli import app

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")

QUICK = ("--recipe", "seed", "--size", "20", "--steps", "1", "--loss", "nca")
FIRST_TWO = ("--hold-out", "Alphabet00", "--hold-out", "Alphabet01")


def train(*arguments: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "120"}).invoke(app, [str(argument) for argument in arguments])


def words_of(result: Result) -> str:
    return " ".join(result.stderr.split())


def train_only(*arguments: str | Path) -> Result:
    """The command, stopped by Ctrl-C when the network is trained and nothing is measured yet."""

    def interrupt(*arguments: object) -> None:
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
