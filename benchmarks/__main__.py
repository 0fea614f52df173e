"""`make bench`: the benchmarks that take minutes at most, one after the other, each in a process of its own.

Left out are those that train for hours, compare with other databases (packages that are not required), or want a
machine to themselves for a million vectors; each says in its own module how it is called.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from demo.omniglot import DataError, find_omniglot


def main(
    bundle: Annotated[
        list[Path] | None, typer.Option(help="Bundles whose accuracy to measure; repeat it. Speed: of the first.")
    ] = None,
) -> None:
    """Run them; one that fails does not keep the others from running."""
    bundles = bundle or [Path("models/omniglot-held-out")]
    jobs: list[tuple[str, ...]] = [
        ("encoder_throughput", "--bundle", str(bundles[0])),
        ("server_footprint", "--bundle", str(bundles[0])),
        ("serving", "--bundle", str(bundles[0])),
        ("index_kill", "--bundle", str(bundles[0])),
        ("gpu_index",),
        ("milvus_index",),
        ("several_servers", "--rounds", "5"),
        ("shards", "--bundle", str(bundles[0])),
        ("store_tools",),
    ]
    try:
        data = str(find_omniglot(os.environ))
        jobs.insert(0, ("accuracy", data, *(word for path in bundles for word in ("--bundle", str(path)))))
    except DataError as error:
        print(f"Accuracy is not measured: {error}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as scratch:  # a large gallery is kept between runs where a folder is named
        jobs.append(("large_gallery", "--folder", scratch))
        failed = [
            name
            for name, *rest in jobs
            if subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *rest]).returncode
        ]
    if failed:
        print(f"Failed: {', '.join(failed)}", file=sys.stderr)
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
