"""`exemplar evaluate` in this process, and bundles whose manifests tell other stories."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from exemplar_encoder import Bundle
from exemplar_encoder.bundle import seal
from exemplar_trainer.cli.evaluate import app


def call(*arguments: object) -> Result:
    """Run the command to its end."""
    return CliRunner(env={"COLUMNS": "120"}).invoke(app, [*map(str, arguments)])


def evaluate(*arguments: object) -> list[dict[str, Any]]:
    """Return what the command prints as JSON."""
    done = call(*arguments, "--json")
    assert done.exit_code == 0, done.output
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def retold(bundle: Path, folder: Path, **training: object) -> Path:
    """Copy a bundle, and let the copy's manifest tell another story of its training."""
    shutil.copytree(bundle, folder)
    manifest = Bundle.load(bundle).manifest
    seal(folder, dataclasses.replace(manifest, training={**manifest.training, **training}))
    return folder
