"""Images that are made to stop a server cost their own answers, and nobody else's."""

from __future__ import annotations

import io
import signal
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest
from PIL import Image

from demo.server_process import ServerProcess
from exemplar.v1 import classification_service_pb2 as classification
from exemplar.v1 import gallery_service_pb2 as galleries
from tests.e2e.stubs import Stubs, image, png, reason_of, refusal


def with_scans(count: int) -> bytes:
    """Return a progressive JPEG whose last scan, which refines one bit, comes again and again."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1000), np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG", progressive=True, quality=1)
    content = buffer.getvalue()
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + last[: 78 - len(last)] * count + b"\xff\xd9"


def blank(side: int) -> bytes:
    """Return a small file of many pixels."""
    buffer = io.BytesIO()
    Image.new("RGBA", (side, side)).save(buffer, "PNG")
    return buffer.getvalue()


def embed(stubs: Stubs, content: bytes, timeout: float = 60) -> None:
    stubs.classification.Embed(classification.EmbedRequest(image=image(content)), timeout=timeout)


def test_jpegs_of_a_hundred_thousand_scans_are_refused_at_once(server: ServerProcess, stubs: Stubs) -> None:
    for _ in range(4):
        with pytest.raises(grpc.RpcError) as refused:
            embed(stubs, with_scans(100_000), timeout=20)
        assert refusal(refused.value)[:2] == ("INVALID_ARGUMENT", "IMAGE_TOO_COSTLY")
    embed(stubs, png())


def test_an_image_that_takes_too_long_costs_its_own_result_and_health_goes_on(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    with ServerProcess(tiny_bundle, tmp_path, "--max-image-seconds", "0.1") as server:
        stubs = Stubs(server.channel())
        images = [image(content) for content in (png(), blank(5000), png(), blank(5000))]
        results = stubs.classification.BatchEmbed(classification.BatchEmbedRequest(images=images)).results
        assert [result.HasField("embedding") for result in results] == [True, False, True, False]
        assert reason_of(results[1].error)[0] == "IMAGE_TOO_COSTLY"
        assert server.metric("exemplar_decoders_ended_total") == 2
        assert server.stop() == 0


def test_an_image_that_takes_too_much_memory_costs_its_own_result(tiny_bundle: Path, tmp_path: Path) -> None:
    # Layers of a file's palette, masks and such count in no limit on pixels; here it is the limit that is small.
    limits = ["--max-image-pixels", "25000000", "--decoders", "1"]
    with ServerProcess(tiny_bundle, tmp_path, *limits) as server:
        stubs = Stubs(server.channel())
        embed(stubs, blank(5000))
        (decoder,) = psutil.Process(server.pid).children()
        assert decoder.memory_info().rss < 450 * 2**20


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_decoding_processes_end_with_the_server_whatever_they_do(
    tiny_bundle: Path, tmp_path: Path, number: signal.Signals
) -> None:
    with ServerProcess(tiny_bundle, tmp_path, "--drain-seconds", "0") as server:
        stubs = Stubs(server.channel())
        decoders = psutil.Process(server.pid).children()
        assert decoders
        request = classification.BatchEmbedRequest(images=[image(blank(5000))] * 64)
        call = stubs.classification.BatchEmbed.future(request)
        while server.metric("exemplar_queue_images") == 0:
            assert not call.done()
        assert server.stop(number) in (0, -number)
        _, alive = psutil.wait_procs(decoders, timeout=20)
        assert alive == []


@pytest.mark.parametrize("size", [(2000, 20), (20, 2000), (4000, 8), (8, 4000)])
def test_a_picture_of_an_extreme_shape_is_checked_and_enrolled_beside_others(
    stubs: Stubs, gallery: str, size: tuple[int, int]
) -> None:
    strip = io.BytesIO()
    page = Image.new("L", size, 255)
    page.paste(0, (size[0] // 2, 0, *size) if size[0] < size[1] else (0, size[1] // 2, *size))
    page.save(strip, "PNG")
    checked = galleries.CheckExemplarRequest(gallery=gallery, image=image(strip.getvalue()))
    assert stubs.galleries.CheckExemplar(checked).exemplar.width == size[0]
    pictures = {"before": png(seed=1), "strip": strip.getvalue(), "after": png(seed=2)}
    enrollments = [galleries.Enrollment(class_id=key, images=[image(each)]) for key, each in pictures.items()]
    request = galleries.BatchEnrollClassesRequest(gallery=gallery, enrollments=enrollments)
    results = stubs.galleries.BatchEnrollClasses(request).results
    assert [result.HasField("enrolled") for result in results] == [True] * 3
