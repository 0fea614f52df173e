"""How soon does the server serve, and how much memory does it hold? A real process, an empty store."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Annotated

import grpc
import numpy as np
import typer

from benchmarks.drawn import picture
from benchmarks.results import record
from demo.server_process import ServerProcess
from exemplar.v1 import classification_service_pb2 as pb
from exemplar.v1 import classification_service_pb2_grpc as pb_grpc


def main(
    bundle: Annotated[Path, typer.Option(help="The bundle to serve.")],
    runs: Annotated[int, typer.Option(help="How often to start it.")] = 5,
) -> None:
    """Measure."""
    seconds, resident, loaded, tensorflow = [], [], [], False
    for _ in range(runs):
        start = perf_counter()
        with tempfile.TemporaryDirectory() as folder, ServerProcess(bundle, Path(folder)) as server:
            address = server.address
            seconds.append(perf_counter() - start)
            resident.append(_resident_mib(server.pid))
            with grpc.insecure_channel(address) as channel:
                stub = pb_grpc.ClassificationServiceStub(channel)
                for _ in range(20):
                    stub.BatchEmbed(pb.BatchEmbedRequest(images=[picture()] * 64))
            loaded.append(_resident_mib(server.pid))
            tensorflow |= "tensorflow" in Path(f"/proc/{server.pid}/maps").read_text()
    figures = {
        "start_seconds": {"median": float(np.median(seconds)), "most": max(seconds)},
        "resident_mib_at_start": {"median": float(np.median(resident)), "most": max(resident)},
        "resident_mib_after_1280_images": {"median": float(np.median(loaded)), "most": max(loaded)},
    }
    rows = [[name.replace("_", " "), f"{f['median']:.2f}", f"{f['most']:.2f}"] for name, f in figures.items()]
    rows.append(["TensorFlow loaded", "yes" if tensorflow else "no", ""])
    title = f"Footprint of the server, {runs} starts on an empty store"
    record("server_footprint", title, ["", "median", "most"], rows, json.loads(json.dumps(figures)))


def _resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS: this needs Linux")


if __name__ == "__main__":
    typer.run(main)
