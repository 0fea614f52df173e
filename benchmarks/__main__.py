"""`make bench`: every benchmark, one after the other, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from demo.omniglot import DataError, find_omniglot


def main(
    bundle: Annotated[
        list[Path] | None, typer.Option(help="Bundles whose accuracy to measure; repeat it. Speed: of the first.")
    ] = None,
) -> None:
    """Run them all; one that fails does not keep the others from running."""
    bundles = bundle or [Path("models/omniglot-held-out")]
    jobs: list[tuple[str, ...]] = [
        ("encoder_throughput", "--bundle", str(bundles[0])),
        ("server_footprint", "--bundle", str(bundles[0])),
        ("server_throughput", "--bundle", str(bundles[0])),
        ("index_kill", "--bundle", str(bundles[0])),
    ]
    try:
        data = str(find_omniglot(os.environ))
        jobs.insert(0, ("accuracy", data, *(word for path in bundles for word in ("--bundle", str(path)))))
    except DataError as error:
        print(f"Accuracy is not measured: {error}", file=sys.stderr)
    failed = [
        name for name, *rest in jobs if subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *rest]).returncode
    ]
    if failed:
        print(f"Failed: {', '.join(failed)}", file=sys.stderr)
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
