"""The same encoder and index behind mosec, LitServe, BentoML, Ray Serve and us: single calls, 32 in flight.

`pip install -r benchmarks/requirements-peers.txt` beside this project's packages, then `python -m benchmarks.peers`.
Each serves from as many processes as cores, as its own guide advises, once image by image and once in batches; the
better of the two is shown. h2load calls all of them, over HTTP/1.1 where a peer knows no other. The order is drawn
anew in each round, and medians over all are shown.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import typer

from benchmarks import load
from benchmarks.drawn import picture
from benchmarks.peers.work import BUNDLE
from benchmarks.results import record
from benchmarks.serving import requests, stock
from demo.server_process import ServerProcess

IN_FLIGHT = 32
OURS = "ours, gRPC"
_PATIENCE = 90.0

_HERE = "benchmarks.peers"
PEERS = {
    "mosec": (sys.executable, "-m", f"{_HERE}.mosec_server", "--address", "127.0.0.1", "--port", "{port}"),
    "LitServe": (sys.executable, "-m", f"{_HERE}.litserve_server"),
    "BentoML": (sys.executable, "-m", "bentoml", "serve", f"{_HERE}.bentoml_server:Naming", "--port", "{port}"),
    "Ray Serve": (sys.executable, "-m", f"{_HERE}.ray_server"),
}


def main(
    bundle: Annotated[Path, typer.Option(help="The bundle.")] = Path("models/omniglot"),
    seconds: Annotated[float, typer.Option(help="How long to call each in each round.")] = 6.0,
    rounds: Annotated[int, typer.Option(min=1, help="How often to measure each.")] = 3,
    only: Annotated[list[str] | None, typer.Option(help="These peers alone; repeat it.")] = None,
) -> None:
    """Measure."""
    found: dict[tuple[str, int], list[load.Load]] = {}
    wanted = [(name, size) for name in PEERS if not only or name in only for size in (1, 32)]
    ours = (OURS, 0)
    for turn in range(rounds):
        order = [ours, *wanted]
        for place in np.random.default_rng(turn).permutation(len(order)).tolist():
            name, size = order[place]
            try:
                measured = _ours(bundle, seconds) if name == OURS else _peer(name, size, bundle, seconds)
            except (OSError, subprocess.SubprocessError) as error:
                print(f"{name}, by {size}: {error}", file=sys.stderr)
                continue
            found.setdefault((name, size), []).append(measured)
    rates = {key: median(each.rate for each in loads) for key, loads in found.items()}
    best = {name: max((key for key in rates if key[0] == name), key=lambda key: rates[key]) for name, _ in rates}
    figures = {
        name: {
            "calls_per_second": rates[key],
            "p50_ms": median(each.p50 for each in found[key]),
            "p99_ms": median(each.p99 for each in found[key]),
            "batch": key[1],
        }
        for name, key in best.items()
    }
    rows = [
        [
            name,
            f"{of['calls_per_second']:,.0f}",
            f"{of['calls_per_second'] / rates[ours]:.2f}",
            f"{of['p50_ms']:.1f}",
            f"{of['p99_ms']:.1f}",
        ]
        for name, of in sorted(figures.items(), key=lambda item: -item[1]["calls_per_second"])
    ]
    record(
        "peers",
        f"Single pictures, {IN_FLIGHT} in flight",
        ["", "calls/s", "of ours", "p50 ms", "p99 ms"],
        rows,
        figures,
    )


def _ours(bundle: Path, seconds: float) -> load.Load:
    with tempfile.TemporaryDirectory() as folder, ServerProcess(bundle, Path(folder)) as server:
        stock(server.address)
        method, message, _ = requests(server.address)["Classify"]
        return load.call(server.address, f"/exemplar.v1.ClassificationService/{method}", message, IN_FLIGHT, seconds)


def _peer(name: str, size: int, bundle: Path, seconds: float) -> load.Load:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/{'predict' if name == 'LitServe' else 'inference'}"
    with _started([word.format(port=port) for word in PEERS[name]], port, size, bundle):
        _wait(url, *_body(name, 3))
        return load.post(url, *_body(name, 0), IN_FLIGHT, seconds)


def _body(name: str, number: int) -> tuple[bytes, str]:
    """Return a picture as a peer takes it, and the content's type."""
    content = picture(number).content
    if name == "LitServe":
        return json.dumps({"image": base64.b64encode(content).decode()}).encode(), "application/json"
    return content, "application/octet-stream"


@contextmanager
def _started(command: list[str], port: int, size: int, bundle: Path) -> Iterator[None]:
    env = {**os.environ, BUNDLE: str(bundle.resolve()), "PEERS_BATCH": str(size), "PEERS_PORT": str(port)}
    process = subprocess.Popen(
        command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(url: str, body: bytes, kind: str) -> None:
    """Wait until the picture of class 3 is named."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            request = urllib.request.Request(url, body, {"Content-Type": kind})
            with urllib.request.urlopen(request, timeout=5) as answer:
                said = answer.read().decode()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
        else:
            if said != "c3":
                raise OSError(f"it named the picture of c3 {said!r}")
            return


if __name__ == "__main__":
    typer.run(main)
