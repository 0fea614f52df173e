"""The server as a process: how it ends, and what outlives it."""

from __future__ import annotations

import io
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from PIL import Image

from demo.server_process import ServerProcess
from exemplar.v1 import classification_service_pb2 as classification
from exemplar.v1 import gallery_service_pb2 as galleries
from exemplar.v1 import model_service_pb2 as models
from exemplar.v1 import resources_pb2 as resources
from tests.e2e.stubs import Stubs, classify, image, png, refusal, status_of

SERVING = health_pb2.HealthCheckResponse.SERVING
SLOW_IMAGES = 40
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def enroll(stubs: Stubs, gallery_id: str, seeds: range) -> str:
    name = stubs.galleries.CreateGallery(galleries.CreateGalleryRequest(gallery_id=gallery_id)).gallery.name
    enrollments = [galleries.Enrollment(class_id=f"c{seed}", images=[image(png(seed=seed))]) for seed in seeds]
    stubs.galleries.BatchEnrollClasses(galleries.BatchEnrollClassesRequest(gallery=name, enrollments=enrollments))
    return name


def slow_batch(stubs: Stubs, server: ServerProcess) -> grpc.Future:  # type: ignore[type-arg]
    """A call that is in flight for a while, and is when this returns."""
    buffer = io.BytesIO()
    Image.new("L", (5000, 5000), 255).save(buffer, "PNG")
    request = classification.BatchEmbedRequest(images=[image(buffer.getvalue())] * SLOW_IMAGES)
    future = stubs.classification.BatchEmbed.future(request)
    while server.metric("exemplar_queue_images") == 0:
        assert not future.done()
    return future


# Ending


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_what_is_in_flight_end_and_refuses_what_is_new(
    tiny_bundle: Path, tmp_path: Path, number: int
) -> None:
    with ServerProcess(tiny_bundle, tmp_path) as server:
        stubs = Stubs(server.channel())
        future = slow_batch(stubs, server)
        server.send(number)
        server.wait_for("draining")
        assert stubs.health.Check(health_pb2.HealthCheckRequest()).status == NOT_SERVING
        with pytest.raises(grpc.RpcError) as refused:
            stubs.models.ListModels(models.ListModelsRequest())
        assert refusal(refused.value)[:2] == ("UNAVAILABLE", "DRAINING")
        assert all(result.HasField("embedding") for result in future.result().results)
        assert server.wait() == 0
        server.wait_for("stopped")


def test_a_full_queue_is_told_with_a_time_to_come_back(tiny_bundle: Path, tmp_path: Path) -> None:
    with ServerProcess(tiny_bundle, tmp_path, "--queue-capacity", "4") as server:
        stubs = Stubs(server.channel())
        future = slow_batch(stubs, server)
        with pytest.raises(grpc.RpcError) as refused:
            stubs.classification.BatchEmbed(classification.BatchEmbedRequest(images=[image(png())] * 4))
        assert refusal(refused.value)[:2] == ("UNAVAILABLE", "QUEUE_FULL")
        retry = error_details_pb2.RetryInfo()
        status = status_of(refused.value)
        assert any(detail.Unpack(retry) for detail in status.details)
        wait = retry.retry_delay.ToMilliseconds()
        assert 0 < wait <= 10_000
        trailing = dict(refused.value.trailing_metadata())
        assert trailing["grpc-retry-pushback-ms"] == str(wait)
        assert len(future.result().results) == SLOW_IMAGES
        stubs.classification.Embed(classification.EmbedRequest(image=image(png())))


def test_a_caller_who_hangs_up_costs_the_others_nothing(tiny_bundle: Path, tmp_path: Path) -> None:
    with ServerProcess(tiny_bundle, tmp_path) as server:
        stubs = Stubs(server.channel())
        for _ in range(3):
            slow_batch(stubs, server).cancel()
        address = server.address
        host, _, port = str(address).rpartition(":")
        with socket.create_connection((host, int(port))) as rude:
            rude.sendall(b"GET / HTTP/1.1\r\n\r\n\x00\xff" * 100)
        assert stubs.classification.Embed(classification.EmbedRequest(image=image(png()))).embedding.values
        while server.metric("exemplar_queue_images"):
            pass
        assert server.stop() == 0


# What outlives it


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_after_a_restart_the_answers_are_the_same(tiny_bundle: Path, tmp_path: Path, number: int) -> None:
    def answers(stubs: Stubs) -> list[object]:
        listed = stubs.galleries.ListClasses(galleries.ListClassesRequest(gallery="galleries/g")).classes
        return [*listed, *(classify(stubs, "galleries/g", png(seed=seed)) for seed in range(25))]

    with ServerProcess(tiny_bundle, tmp_path) as server:
        stubs = Stubs(server.channel())
        enroll(stubs, "g", range(20))
        stubs.galleries.DeleteClass(galleries.DeleteClassRequest(name="galleries/g/classes/c3"))
        mask = FieldMask(paths=["max_exemplars_per_class"])
        allowed = resources.Gallery(name="galleries/g", max_exemplars_per_class=2)
        stubs.galleries.UpdateGallery(galleries.UpdateGalleryRequest(gallery=allowed, update_mask=mask))
        stubs.galleries.AddExemplars(
            galleries.AddExemplarsRequest(class_name="galleries/g/classes/c4", images=[image(png(seed=99))])
        )
        before = answers(stubs)
        server.stop(number)
    with ServerProcess(tiny_bundle, tmp_path) as server:
        assert answers(Stubs(server.channel())) == before


def test_every_enrollment_acknowledged_before_a_kill_nine_is_there_after_it(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    acknowledged: list[str] = []

    def stream(stubs: Stubs, worker: int) -> None:
        for number in range(100_000):
            class_id = f"w{worker}-{number}"
            request = galleries.EnrollClassRequest(
                gallery="galleries/g", enrollment={"class_id": class_id, "images": [image(png(seed=number))]}
            )
            try:
                stubs.galleries.EnrollClass(request)
            except grpc.RpcError:
                return
            acknowledged.append(class_id)
            if len(acknowledged) == 40:
                server.send(signal.SIGKILL)

    with ServerProcess(tiny_bundle, tmp_path) as server:
        stubs = Stubs(server.channel())
        enroll(stubs, "g", range(1))
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda worker: stream(stubs, worker), range(4)))
    assert len(acknowledged) >= 40
    with ServerProcess(tiny_bundle, tmp_path) as server:
        stubs = Stubs(server.channel())
        listed = stubs.galleries.ListClasses(galleries.ListClassesRequest(gallery="galleries/g", page_size=1000))
        found = {item.name.rpartition("/")[2] for item in listed.classes}
        assert found >= set(acknowledged)


def test_a_gallery_of_another_model_is_refused_naming_both(
    tiny_bundle: Path, other_bundle: Path, tmp_path: Path
) -> None:
    with ServerProcess(tiny_bundle, tmp_path) as server:
        first = str(server.wait_for("serving")["model"])
        enroll(Stubs(server.channel()), "g", range(3))
        server.stop()
    with ServerProcess(other_bundle, tmp_path) as server:
        second = str(server.wait_for("serving")["model"])
        stubs = Stubs(server.channel())
        assert first != second
        calls: list[Callable[[], object]] = [
            lambda: classify(stubs, "galleries/g", png()),
            lambda: stubs.galleries.EnrollClass(
                galleries.EnrollClassRequest(
                    gallery="galleries/g", enrollment={"class_id": "new", "images": [image(png())]}
                )
            ),
            lambda: stubs.galleries.DiagnoseGallery(galleries.DiagnoseGalleryRequest(name="galleries/g")),
        ]
        for call in calls:
            with pytest.raises(grpc.RpcError) as refused:
                call()
            code, reason, metadata = refusal(refused.value)
            assert (code, reason) == ("FAILED_PRECONDITION", "MODEL_MISMATCH")
            assert (metadata["expected"], metadata["actual"]) == (first, second)
            assert first in refused.value.details()
            assert second in refused.value.details()
        kept = stubs.galleries.GetGallery(galleries.GetGalleryRequest(name="galleries/g")).gallery
        assert (kept.class_count, kept.model) == (3, f"models/{first}")


def test_a_full_disk_is_told_and_loses_nothing(tiny_bundle: Path, tmp_path: Path) -> None:
    with ServerProcess(tiny_bundle, tmp_path, "--max-data-bytes", str(1024 * 1024)) as server:
        stubs = Stubs(server.channel())
        enroll(stubs, "g", range(3))
        large = png((1100, 1100))
        with pytest.raises(grpc.RpcError) as refused:
            stubs.galleries.EnrollClass(
                galleries.EnrollClassRequest(
                    gallery="galleries/g", enrollment={"class_id": "large", "images": [image(large)]}
                )
            )
        assert refusal(refused.value)[:2] == ("RESOURCE_EXHAUSTED", "DISK_FULL")
        assert classify(stubs, "galleries/g", png(seed=1)).matches[0].class_id == "c1"
        enroll(stubs, "h", range(3))
