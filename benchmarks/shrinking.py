"""Pictures that the client shrinks before it sends them: how much smaller, how near in embedding, how fast.

`python -m benchmarks.shrinking` takes drawings on paper as a phone of twelve megapixels would photograph them, and
the model that ships; with `--bundle` and `--pictures` another model and your own pictures.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image

from benchmarks.results import record
from demo.strokes import draw_alphabets
from exemplar.images import SUFFIXES
from exemplar_encoder import EncodedImage, Encoder, load_encoder
from exemplar_encoder.shrink import shrunk


def photographed(drawing: Image.Image, rng: np.random.Generator) -> bytes:
    """Return a drawing somewhere on a sheet under uneven light, as a JPEG of 4000 x 3000 pixels."""
    side = int(rng.integers(900, 2400))
    ink = 1 - np.asarray(drawing.convert("L").resize((side, side), Image.Resampling.BICUBIC), np.float32) / 255
    light = np.linspace(200, 235, 4000, dtype=np.float32) * np.linspace(0.9, 1, 3000, dtype=np.float32)[:, None]
    sheet = light + rng.normal(0, 5, light.shape).astype(np.float32)
    top, left = rng.integers(0, 3000 - side), rng.integers(0, 4000 - side)
    sheet[top : top + side, left : left + side] *= 1 - 0.7 * ink
    color = np.clip(sheet[:, :, None] * np.array([1, 0.97, 0.93], np.float32), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(color).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def photographs(count: int) -> list[bytes]:
    """Return so many photographs, each of another character."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        draw_alphabets(Path(folder), alphabets=4, characters=-(-count // 4), drawers=1)
        files = sorted(Path(folder).rglob("*.png"))[:count]
        return [photographed(Image.open(file), rng) for file in files]


def embedded(encoder: Encoder, content: bytes) -> tuple[np.ndarray[tuple[int], np.dtype[np.float32]], float]:
    """Return a picture's embedding, and the time in ms until it is ready to be embedded."""
    start = perf_counter()
    pixels = encoder.prepare(EncodedImage(content)).pixels
    took = 1000 * (perf_counter() - start)
    return encoder.embed(pixels[None])[0], took


def main(
    bundle: Annotated[Path, typer.Option(help="The model.")] = Path("models/omniglot"),
    pictures: Annotated[
        Path | None, typer.Option(help="A folder of pictures; absent: photographed drawings.")
    ] = None,
    count: Annotated[int, typer.Option(help="How many photographed drawings.")] = 24,
) -> None:
    """Measure."""
    encoder = load_encoder(bundle)
    spec = encoder.bundle.manifest.preprocessing
    if pictures is None:
        contents = photographs(count)
    else:
        files = sorted(file for file in pictures.rglob("*") if file.suffix.lower() in SUFFIXES)
        contents = [file.read_bytes() for file in files]
    found = []
    for content in contents:
        began = perf_counter()
        small = shrunk(EncodedImage(content), max(spec.width, spec.height)).content
        shrinking = 1000 * (perf_counter() - began)
        (whole, slow), (part, fast) = embedded(encoder, content), embedded(encoder, small)
        found.append((len(content), len(small), float(np.linalg.norm(whole - part)), shrinking, slow, fast, whole))
    columns: list[list[Any]] = [list(each) for each in zip(*found, strict=True)]
    sizes, smaller, distances, times, before, after, vectors = columns
    apart = np.linalg.norm(np.stack(vectors)[:, None] - np.stack(vectors)[None], axis=2)
    others = apart[~np.eye(len(apart), dtype=bool)]
    figures = {
        "pictures": len(contents),
        "median KB as they are": float(np.median(sizes)) / 1000,
        "median KB shrunk": float(np.median(smaller)) / 1000,
        "times smaller, all together": sum(sizes) / sum(smaller),
        "distance to its own embedding, median": float(np.median(distances)),
        "distance to its own embedding, greatest": max(distances),
        "distance between two pictures, median": float(np.median(others)),
        "client shrinks it in ms, median": float(np.median(times)),
        "server prepares it as it is in ms, median": float(np.median(before)),
        "server prepares it shrunk in ms, median": float(np.median(after)),
    }
    rows = [[name, f"{value:,.3g}"] for name, value in figures.items()]
    title = f"Pictures shrunk before they are sent ({bundle}, {spec.width} x {spec.height} pixels, {spec.framing})"
    record("shrinking" if pictures is None else f"shrinking_{pictures.name}", title, ["", ""], rows, figures)


if __name__ == "__main__":
    typer.run(main)
