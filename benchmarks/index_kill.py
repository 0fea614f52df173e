"""Does a bulk job survive being killed? Indexes many images in one job, kills it twice on the way, and counts.

`python -m benchmarks.index_kill --bundle models/omniglot --count 10000` draws the images, serves the bundle on a
fresh data directory, and ends with 1 unless every class is present once and the job's report is right.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image
from rich.console import Console

from benchmarks.results import record
from demo.server_process import EXEMPLAR, ServerProcess
from exemplar import Client

GALLERY = "killed"
BAD_IMAGES = 10

console = Console(highlight=False)


def measure(
    bundle: Annotated[Path, typer.Option(help="Bundle to serve.")] = Path("models/omniglot"),
    count: Annotated[int, typer.Option(min=100, help="Images to index.")] = 10_000,
    kills: Annotated[int, typer.Option(min=0, help="How often the job is killed on the way.")] = 2,
) -> None:
    """Index, kill, resume, count."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        wanted = draw(folder / "images", count)
        with (
            ServerProcess(bundle, folder / "data") as server,
            Client(server.address) as client,
        ):
            command = [EXEMPLAR, "index", str(folder / "images"), "--gallery", GALLERY, "--create"]
            command += ["--job", str(folder / "job"), "--address", server.address]
            started = time.monotonic()
            reached = [kill_at(client, command, count * number // (kills + 1)) for number in range(1, kills + 1)]
            finished = subprocess.run(command, check=False)
            seconds = time.monotonic() - started
            present = [each.id for each in client.classes(GALLERY)]
        summary = json.loads((folder / "job" / "summary.json").read_text())
        entries = [json.loads(line) for line in (folder / "job" / "report.jsonl").read_text().splitlines()]
    faults = judge(finished.returncode, wanted, present, summary, entries)
    figures = {
        "images": count,
        "killed at": reached,
        "seconds": round(seconds, 1),
        "images_per_second_last_run": summary["images_per_second"],
        "present_once": len(present),
        "reported_errors": summary["failed"],
        "faults": faults,
    }
    rows = [[name, str(value)] for name, value in figures.items()]
    record("index_kill", "A bulk job, killed on the way", ["", "figure"], rows, figures)
    if faults:
        raise typer.Exit(1)


def draw(folder: Path, count: int) -> set[str]:
    """Draw `count` random block patterns, and a few files that are no images."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    for number in range(count):
        blocks = rng.integers(0, 2, (7, 7), dtype=np.uint8) * 255
        Image.fromarray(blocks).resize((105, 105), Image.Resampling.NEAREST).save(folder / f"c{number:06}.png")
    for number in range(BAD_IMAGES):
        (folder / f"bad{number}.png").write_bytes(b"no image")
    return {f"c{number:06}" for number in range(count)}


def kill_at(client: Client, command: Sequence[str], threshold: int) -> int:
    """Run the job until `threshold` classes are in, kill it, and return how many were in."""
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            held = next((each.class_count for each in client.galleries() if each.id == GALLERY), 0)
            if held >= threshold:
                process.kill()
                console.print(f"Killed with {held:,} classes in.")
                return held
    raise SystemExit("the job was over before it could be killed; index more images")


def judge(
    code: int, wanted: set[str], present: list[str], summary: dict[str, Any], entries: list[dict[str, str]]
) -> list[str]:
    """Name what is not as promised."""
    errors = sorted(entry["class_id"] for entry in entries if entry["level"] == "error")
    checks = {
        "exit code is not 1, which bad images make it": code == 1,
        "classes are missing or foreign": set(present) == wanted,
        "classes are listed more than once": len(present) == len(set(present)),
        "summary is not complete": bool(summary["complete"]),
        "summary counts wrongly": (summary["done"], summary["failed"]) == (len(wanted), BAD_IMAGES),
        "report does not name the bad images": errors == sorted(f"bad{number}" for number in range(BAD_IMAGES)),
    }
    return [fault for fault, kept in checks.items() if not kept]


if __name__ == "__main__":
    typer.run(measure)
