"""Calls that share requests, and pictures that are shrunk, are answered by the real server as without that."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import exemplar
from demo.server_process import ServerProcess
from exemplar import AsyncClient, Classification, Client, Embedding, Enrollment, ExemplarError, Part, Region

CALLERS = 24


@pytest.fixture(scope="module")
def pictures(drawn_alphabets: Path) -> list[Path]:
    return [sorted(folder.iterdir())[0] for folder in sorted(drawn_alphabets.glob("*05/*"))]


@pytest.fixture(scope="module")
def plain(server: ServerProcess, pictures: list[Path]) -> Iterator[Client]:
    with Client(server.address) as client:
        client.create_gallery("shared")
        client.enroll_many("shared", [Enrollment(path.parent.name, path) for path in pictures])
        yield client


def asked(address: str, synchronous: bool, method: str, calls: list[tuple[Any, ...]], **options: Any) -> list[Any]:
    """Make all calls at once, from as many threads or tasks; return their results and errors."""
    if synchronous:
        with Client(address, **options) as client, ThreadPoolExecutor(len(calls)) as pool:
            running = [pool.submit(getattr(client, method), *call) for call in calls]
            return [each.exception() or each.result() for each in running]

    async def run() -> list[Any]:
        async with AsyncClient(address, **options) as client:
            return await asyncio.gather(*(getattr(client, method)(*call) for call in calls), return_exceptions=True)

    return asyncio.run(run())


def told(entry: Any) -> Any:
    """Return what two answers, or two errors, have to agree in."""
    if isinstance(entry, ExemplarError):
        return type(entry), entry.code, entry.reason, entry.message, entry.metadata
    if isinstance(entry, Classification):
        return entry.verdict, entry.class_id, [match.class_id for match in entry.matches], entry.gallery_revision
    return entry.model, np.round(entry.values, 4).tolist()


def batches(server: ServerProcess, method: str) -> float:
    return server.metric(f'exemplar_requests_total{{code="OK",method="{method}"}}')


@pytest.mark.parametrize("synchronous", [True, False], ids=["Client", "AsyncClient"])
def test_shared_requests_are_answered_as_single_ones(
    server: ServerProcess, plain: Client, pictures: list[Path], synchronous: bool
) -> None:
    images: list[Any] = [*pictures, b"no image at all", b"", plain.embed(pictures[0]), Embedding((1.0, 2.0), "")]
    images += pictures[: CALLERS - len(images)]
    calls = [("shared", image) for image in images] + [("no-such-gallery", pictures[0])]
    expected = asked(server.address, synchronous, "classify", calls)
    before = batches(server, "BatchClassify")
    found = asked(server.address, synchronous, "classify", calls, coalesce=0.05)
    assert [told(each) for each in found] == [told(each) for each in expected]
    assert sum(isinstance(each, ExemplarError) for each in found) == 4
    assert 0 < batches(server, "BatchClassify") - before < CALLERS


@pytest.mark.parametrize("synchronous", [True, False], ids=["Client", "AsyncClient"])
def test_shared_embeddings_are_the_same(
    server: ServerProcess, plain: Client, pictures: list[Path], synchronous: bool
) -> None:
    calls = [(path,) for path in pictures * 2]
    before = batches(server, "BatchEmbed")
    found = asked(server.address, synchronous, "embed", calls, coalesce=0.05)
    for entry, (path,) in zip(found, calls, strict=True):
        assert np.allclose(entry.values, plain.embed(path).values, atol=1e-4)
    assert 0 < batches(server, "BatchEmbed") - before < len(calls)


def large(path: Path) -> Image.Image:
    return Image.open(path).convert("L").resize((2000, 1500), Image.Resampling.BICUBIC)


def distance(first: Embedding, second: Embedding) -> float:
    return float(np.linalg.norm(np.subtract(first.values, second.values)))


def test_a_shrunk_picture_has_nearly_its_embedding_and_the_same_answer(
    server: ServerProcess, plain: Client, pictures: list[Path], tmp_path: Path
) -> None:
    file = tmp_path / "large.jpg"
    large(pictures[0]).save(file, quality=95)
    sheet = Image.new("L", (4000, 1500), 255)
    sheet.paste(large(pictures[0]), (2000, 0))
    forms: list[Any] = [
        file,
        file.read_bytes(),
        large(pictures[0]),
        np.asarray(large(pictures[0])),
        Part(sheet, Region(2000, 0, 2000, 1500)),
        Part(sheet, Region(0.5, 0, 0.5, 1, "fraction")),
    ]
    whole = plain.embed(file)
    other = distance(whole, plain.embed(large(pictures[1])))
    expected = plain.classify("shared", file)
    with Client(server.address, shrink=True) as client:
        for form in forms:
            assert distance(client.embed(form), whole) < 0.05 * other
            assert told(client.classify("shared", form)) == told(expected)
        assert [told(each) for each in client.classify_many("shared", forms)] == [told(expected)] * len(forms)
        assert all(
            isinstance(each, Embedding) and distance(each, whole) < 0.05 * other for each in client.embed_many(forms)
        )
        with pytest.raises(exemplar.InvalidArgumentError, match="beyond the image"):
            client.classify("shared", Part(file, Region(0, 0, 9000, 10)))
    found = asked(server.address, False, "classify", [("shared", form) for form in forms], shrink=True, coalesce=0.05)
    assert [told(each) for each in found] == [told(expected)] * len(forms)


def test_exemplars_are_sent_as_they_are(server: ServerProcess, plain: Client, pictures: list[Path]) -> None:
    buffer = io.BytesIO()
    large(pictures[0]).save(buffer, "JPEG", quality=95)
    with Client(server.address, shrink=True) as client:
        client.create_gallery("kept")
        (kept,) = client.enroll("kept", "c", buffer.getvalue()).image_class.exemplars
        assert client.exemplar_image("kept", "c", kept.sha256) == buffer.getvalue()
