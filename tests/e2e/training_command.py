"""`exemplar train` called in this process, which has TensorFlow loaded already."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from exemplar_encoder import Bundle
from exemplar_trainer.bundles import from_run
from exemplar_trainer.cli.train import app


def train(*arguments: str | Path) -> Result:
    """Run the command to its end, whichever that is."""
    return CliRunner(env={"COLUMNS": "120"}).invoke(app, [str(argument) for argument in arguments])


def trained(*arguments: str | Path) -> Bundle:
    """Run the command and return the bundle that it says it made."""
    done = train(*arguments, "--json")
    assert done.exit_code == 0, done.stderr
    return Bundle.load(json.loads(done.stdout)["bundle"])


def train_only(*arguments: str | Path) -> Result:
    """Run the command until the network is trained, and stop it by Ctrl-C before anything is measured."""

    def interrupt(*anything: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(from_run, "make_bundle", interrupt)
        return train(*arguments)


def words_of(result: Result) -> str:
    """Return what a command said on standard error, without line breaks and the frame around wrong usage."""
    return " ".join(result.stderr.replace("│", " ").split())
