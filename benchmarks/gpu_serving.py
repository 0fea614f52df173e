"""Does the service keep a GPU busy? The server beside the engine alone and the decoding alone, for photographs.

`python -m benchmarks.gpu_serving`. The networks have the shape of DINOv2's with random weights: how fast one is
depends on its shape alone. "No network" takes means of 28 x 28 pixels, which costs next to nothing: what is left is
the service's own share, which a machine without a GPU shows as well. There the others are left out.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import tempfile
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from pathlib import Path
from time import perf_counter
from typing import Annotated

import grpc
import numpy as np
import onnx
import onnxruntime
import typer
from onnx import TensorProto, helper
from PIL import Image

from benchmarks.load import available, call, processor_seconds
from benchmarks.onnx_speed import TRANSFORMERS, transformer
from benchmarks.results import record
from demo.objects import draw_things, make_thing, photograph
from demo.server_process import EXEMPLAR, ServerProcess
from exemplar.v1 import classification_service_pb2, gallery_service_pb2, gallery_service_pb2_grpc, resources_pb2
from exemplar_encoder import EncodedImage, load_encoder
from exemplar_encoder.bundle import NETWORKS
from exemplar_encoder.engines.onnx import OnnxEngine

SIDE = 224
BATCH = 32
ENGINE_BATCHES = (1, 8, 32, 128)
ON_A_GPU = ("ViT-S/14, as DINOv2 small", "ViT-B/14, as DINOv2 base")
_SERVICE = "/exemplar.v1.ClassificationService/"


def main(
    seconds: Annotated[float, typer.Option(help="How long to measure each.")] = 5.0,
    max_batch: Annotated[int, typer.Option(help="The server's --max-batch.")] = 32,
) -> None:
    """Measure."""
    if not available():
        raise SystemExit("benchmarks.gpu_serving needs h2load: install Debian's nghttp2-client")
    gpu = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    networks = {"no network": means()} | {name: transformer(TRANSFORMERS[name]) for name in ON_A_GPU if gpu}
    cores = os.cpu_count() or 1
    rows, figures = [], {}
    with tempfile.TemporaryDirectory() as scratch:
        things = Path(scratch, "things")
        draw_things(things, 8, photographs=3)
        for number, (name, network) in enumerate(networks.items()):
            folder = Path(scratch, str(number))
            bundle = export(network, things, folder)
            found = measure(bundle, seconds, cores, max_batch)
            figures[name] = found
            limit = min(
                found["decoding, images/s"], max(found[f"engine by {size}, images/s"] for size in ENGINE_BATCHES)
            )
            rows.append([name, *(f"{found[f'engine by {size}, images/s']:,.0f}" for size in ENGINE_BATCHES)])
            rows[-1] += [f"{found[what]:,.0f}" for what in ("decoding, images/s", "in batches, images/s")]
            rows[-1] += [f"{found['in batches, images/s'] / limit:.2f}", f"{found['one by one, images/s']:,.0f}"]
    columns = ["images/s", *(f"engine by {size}" for size in ENGINE_BATCHES), "decoding", "batches", "of the limit"]
    where = "on a GPU" if gpu else "on no GPU"
    record("gpu_serving", f"Photographs, {where}, {cores} cores", [*columns, "one by one"], rows, figures)


def measure(bundle: Path, seconds: float, cores: int, max_batch: int) -> dict[str, float]:
    """Return images a second of the parts alone, and of the server."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as process:
        found = process.submit(_engine, bundle, seconds / 2).result()
    with ProcessPoolExecutor(cores, spawn) as pool, spawn.Manager() as manager:
        ready = manager.Barrier(cores)
        jobs = [pool.submit(_decode, bundle, seconds, ready) for _ in range(cores)]
        found["decoding, images/s"] = sum(job.result() for job in jobs)
    query = resources_pb2.Query(image=resources_pb2.Image(content=jpeg(0)))
    one = classification_service_pb2.ClassifyRequest(gallery="galleries/g", query=query)
    many = classification_service_pb2.BatchClassifyRequest(gallery="galleries/g", queries=[query] * BATCH)
    with ServerProcess(bundle, bundle.parent / "data", "--max-batch", str(max_batch)) as server:
        with grpc.insecure_channel(server.address) as channel:
            stub = gallery_service_pb2_grpc.GalleryServiceStub(channel)
            stub.CreateGallery(gallery_service_pb2.CreateGalleryRequest(gallery_id="g"))
            for number in range(20):
                image = resources_pb2.Image(content=jpeg(number))
                enrollment = gallery_service_pb2.Enrollment(class_id=f"c{number}", images=[image])
                stub.EnrollClass(gallery_service_pb2.EnrollClassRequest(gallery="galleries/g", enrollment=enrollment))
        batches = max(4, cores * 3 // 4)
        for message, method, images, in_flight in (
            (many, "BatchClassify", BATCH, batches),
            (one, "Classify", 1, 8 * batches),
        ):
            counter = f'exemplar_requests_total{{code="OK",method="{method}"}}'
            before, busy, start = server.metric(counter), processor_seconds(server.pid), perf_counter()
            content = message.SerializeToString()
            load = call(server.address, _SERVICE + method, content, in_flight, seconds)
            answered, busy = server.metric(counter) - before, processor_seconds(server.pid) - busy
            if answered < 0.9 * load.rate * seconds:
                raise SystemExit(f"of {load.rate * seconds:,.0f} calls {answered:,.0f} were answered with OK")
            name = "in batches" if images > 1 else "one by one"
            found[f"{name}, images/s"] = images * load.rate
            found[f"{name}, p50 ms"] = load.p50
            found[f"{name}, processors busy"] = busy / (perf_counter() - start)
    return found


def _engine(bundle: Path, seconds: float) -> dict[str, float]:
    engine = OnnxEngine(bundle / NETWORKS["onnx"], os.cpu_count() or 1)
    found = {}
    for size in ENGINE_BATCHES:
        pixels = np.random.default_rng(0).integers(0, 256, (size, SIDE, SIDE, 3), dtype=np.uint8)
        for _ in range(3):
            engine.run(pixels)
        count, start = 0, perf_counter()
        while perf_counter() - start < seconds:
            engine.run(pixels)
            count += size
        found[f"engine by {size}, images/s"] = count / (perf_counter() - start)
    return found


def _decode(bundle: Path, seconds: float, ready: object) -> float:
    encoder = load_encoder(bundle, threads=1)
    image = EncodedImage(jpeg(0))
    encoder.prepare(image)
    ready.wait()  # type: ignore[attr-defined]  # a barrier's proxy
    count, start = 0, perf_counter()
    while perf_counter() - start < seconds:
        encoder.prepare(image)
        count += 1
    return count / (perf_counter() - start)


def jpeg(number: int) -> bytes:
    """Return a photograph of 640 x 480 pixels as a phone sends one that was shrunk."""
    rng = np.random.default_rng([1, number])
    file = BytesIO()
    photograph(make_thing(rng), rng).resize((640, 480), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


def means() -> onnx.ModelProto:
    """Return a network that takes means of 28 x 28 pixels, 192 numbers a picture."""
    pixels = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])
    given = helper.make_tensor_value_info("image_embeds", TensorProto.FLOAT, ["n", 192])
    nodes = [
        helper.make_node("AveragePool", ["pixel_values"], ["means"], kernel_shape=[28, 28], strides=[28, 28]),
        helper.make_node("Flatten", ["means"], ["image_embeds"]),
    ]
    graph = helper.make_graph(nodes, "means", [pixels], [given])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def export(network: onnx.ModelProto, things: Path, folder: Path) -> Path:
    """Return a bundle of a network, in a folder that is made."""
    folder.mkdir()
    onnx.save(network, folder / "network.onnx")
    bundle = folder / "bundle"
    scaling = ("--mean", "0.5", "--std", "0.25", "--fit", "crop", "--size", str(SIDE))
    command = [EXEMPLAR, "export", str(things), "--model", str(folder / "network.onnx"), *scaling, "-o", str(bundle)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return bundle


if __name__ == "__main__":
    typer.run(main)
