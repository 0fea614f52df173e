"""The server as a process: how it ends, and what outlives it."""

from __future__ import annotations

import io
import signal
import socket
import sqlite3
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

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
from exemplar_server.store.truth.checksums import checksum
from exemplar_server.store.truth.sqlite import DATABASE
from tests.calibrations import made_up
from tests.e2e.stubs import Stubs, classify, image, png, refusal, status_of

NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SLOW_IMAGES = 12

CALIBRATION = resources.Calibration(data=made_up(1 / 3).to_json().encode())

pytestmark = pytest.mark.process


def enroll(stubs: Stubs, gallery_id: str, seeds: range) -> str:
    name = stubs.galleries.CreateGallery(galleries.CreateGalleryRequest(gallery_id=gallery_id)).gallery.name
    enrollments = [galleries.Enrollment(class_id=f"c{seed}", images=[image(png(seed=seed))]) for seed in seeds]
    stubs.galleries.BatchEnrollClasses(galleries.BatchEnrollClassesRequest(gallery=name, enrollments=enrollments))
    return name


def enrollment(class_id: str, content: bytes | None = None) -> galleries.EnrollClassRequest:
    images = [image(content or png())]
    return galleries.EnrollClassRequest(
        gallery="galleries/g", enrollment=galleries.Enrollment(class_id=class_id, images=images)
    )


def slow_batch(stubs: Stubs, server: ServerProcess) -> grpc.Future:
    """Return a call that is in flight for a while, and already is when this returns."""
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
    """Hold an enrollment up, by a lock on the database, until the test has looked."""
    with ServerProcess(tiny_bundle, tmp_path) as server:
        stubs = Stubs(server.channel())
        enroll(stubs, "g", range(1))
        with closing(sqlite3.connect(tmp_path / "exemplar.db", isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            embedded = server.metric("exemplar_encode_seconds_count")
            future = stubs.galleries.EnrollClass.future(enrollment("late"))
            while server.metric("exemplar_encode_seconds_count") == embedded:
                assert not future.done()
            server.send(number)
            server.wait_for("draining")
            assert stubs.health.Check(health_pb2.HealthCheckRequest()).status == NOT_SERVING
            with pytest.raises(grpc.RpcError) as refused:
                stubs.models.ListModels(models.ListModelsRequest())
            assert refusal(refused.value)[:2] == ("UNAVAILABLE", "DRAINING")
            assert not future.done()
        assert future.result().image_class.name == "galleries/g/classes/late"
        assert server.wait() == 0
        server.wait_for("stopped")


def test_on_demand_the_server_compares_its_indexes_with_the_database_and_goes_on(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    with ServerProcess(tiny_bundle, tmp_path) as server:
        stubs = Stubs(server.channel())
        enroll(stubs, "g", range(3))
        server.send(signal.SIGHUP)
        compared = server.wait_for("compared an index")
        assert (compared["gallery"], compared["same"]) == ("g", True)
        assert classify(stubs, "galleries/g", png(seed=2)).matches[0].class_id == "c2"


def test_a_full_queue_is_told_with_a_time_to_come_back_and_who_hangs_up_leaves_the_room(
    tiny_bundle: Path, tmp_path: Path
) -> None:
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
        metadata: Any = refused.value.trailing_metadata()
        assert dict(metadata)["grpc-retry-pushback-ms"] == str(wait)
        assert len(future.result().results) == SLOW_IMAGES
        for _ in range(3):
            slow_batch(stubs, server).cancel()
            while server.metric("exemplar_queue_images"):
                pass
        host, _, port = server.address.rpartition(":")
        with socket.create_connection((host, int(port))) as rude:
            rude.sendall(b"GET / HTTP/1.1\r\n\r\n\x00\xff" * 100)
        assert stubs.classification.Embed(classification.EmbedRequest(image=image(png()))).embedding.values
        assert server.stop() == 0


# Data that outlives it


def test_after_a_restart_the_answers_are_the_same(tiny_bundle: Path, tmp_path: Path) -> None:
    def answers(stubs: Stubs) -> list[object]:
        view = resources.CLASS_VIEW_EMBEDDING
        request = galleries.ListClassesRequest(gallery="galleries/g", view=view)
        found = stubs.galleries.GetGallery(galleries.GetGalleryRequest(name="galleries/g"))
        queries = (classify(stubs, "galleries/g", png(seed=seed)) for seed in range(25))
        return [found, *stubs.galleries.ListClasses(request).classes, *queries]

    with ServerProcess(tiny_bundle, tmp_path) as server:
        stubs = Stubs(server.channel())
        enroll(stubs, "g", range(20))
        stubs.galleries.DeleteClass(galleries.DeleteClassRequest(name="galleries/g/classes/c3"))
        mask = FieldMask(paths=["max_exemplars_per_class", "calibration"])
        changed = resources.Gallery(name="galleries/g", max_exemplars_per_class=2, calibration=CALIBRATION)
        stubs.galleries.UpdateGallery(galleries.UpdateGalleryRequest(gallery=changed, update_mask=mask))
        stubs.galleries.AddExemplars(
            galleries.AddExemplarsRequest(class_name="galleries/g/classes/c4", images=[image(png(seed=99))])
        )
        before = answers(stubs)
        for number in (signal.SIGKILL, signal.SIGTERM):
            server.stop(number)
            assert answers(Stubs(server.restart().channel())) == before


def test_after_a_kill_nine_amid_enrollments_none_is_lost_and_sent_again_each_has_one_effect(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    sent: list[galleries.EnrollClassRequest] = []
    answered: dict[str, galleries.EnrollClassResponse] = {}

    def stream(stubs: Stubs, worker: int) -> None:
        for number in range(100_000):
            request = enrollment(f"w{worker}-{number}", png(seed=number))
            request.request_id = str(uuid.uuid4())
            sent.append(request)
            try:
                answered[request.request_id] = stubs.galleries.EnrollClass(request)
            except grpc.RpcError:
                return
            if len(answered) == 40:
                server.send(signal.SIGKILL)

    with ServerProcess(tiny_bundle, tmp_path) as server:
        stubs = Stubs(server.channel())
        name = enroll(stubs, "g", range(1))
        before = stubs.galleries.GetGallery(galleries.GetGalleryRequest(name=name)).gallery
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda worker: stream(stubs, worker), range(4)))
        assert 40 <= len(answered) < len(sent)
        stubs = Stubs(server.restart().channel())
        listed = stubs.galleries.ListClasses(galleries.ListClassesRequest(gallery=name, page_size=1000)).classes
        assert {item.name for item in listed} >= {response.image_class.name for response in answered.values()}
        for request in sent:
            response = stubs.galleries.EnrollClass(request)
            assert not response.replaced
            assert response == answered.get(request.request_id, response)
        after = stubs.galleries.GetGallery(galleries.GetGalleryRequest(name=name)).gallery
        assert after.class_count - before.class_count == after.revision - before.revision == len(sent)


def test_a_request_is_known_for_a_day_and_then_its_id_is_free(tiny_bundle: Path, tmp_path: Path) -> None:
    request = enrollment("a")
    request.request_id = str(uuid.uuid4())
    with ServerProcess(tiny_bundle, tmp_path) as server:
        stubs = Stubs(server.channel())
        enroll(stubs, "g", range(1))
        first = stubs.galleries.EnrollClass(request)
        server.stop()
        make_older(tmp_path, timedelta(hours=23))
        stubs = Stubs(server.restart().channel())
        assert stubs.galleries.EnrollClass(request) == first
        server.stop()
        make_older(tmp_path, timedelta(hours=1))
        stubs = Stubs(server.restart().channel())
        request.enrollment.display_name = "A"
        again = stubs.galleries.EnrollClass(request)
        assert again.replaced
        assert again.gallery_revision == first.gallery_revision + 1
        assert stubs.galleries.EnrollClass(request) == again


def make_older(data: Path, age: timedelta) -> None:
    """Rewrite what a stopped server keeps of requests as if they had been made that much earlier."""
    with closing(sqlite3.connect(data / DATABASE)) as database, database:
        for columns in database.execute("SELECT id, method, digest, response, time FROM requests").fetchall():
            time = columns[-1] - age // timedelta(microseconds=1)
            check = checksum(*columns[:-1], time)
            database.execute("UPDATE requests SET time = ?, checksum = ? WHERE id = ?", (time, check, columns[0]))


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
        calibrated = galleries.UpdateGalleryRequest(
            gallery=resources.Gallery(name="galleries/g", calibration=CALIBRATION),
            update_mask=FieldMask(paths=["calibration"]),
        )
        calls: list[Callable[[], object]] = [
            lambda: classify(stubs, "galleries/g", png()),
            lambda: stubs.galleries.EnrollClass(enrollment("new")),
            lambda: stubs.galleries.UpdateGallery(calibrated),
            lambda: stubs.galleries.DiagnoseGallery(galleries.DiagnoseGalleryRequest(name="galleries/g")),
        ]
        for call in calls:
            with pytest.raises(grpc.RpcError) as refused:
                call()
            code, reason, metadata = refusal(refused.value)
            assert (code, reason) == ("FAILED_PRECONDITION", "MODEL_MISMATCH")
            assert (metadata["expected"], metadata["actual"]) == (first, second)
            assert first in str(refused.value.details())
            assert second in str(refused.value.details())
        kept = stubs.galleries.GetGallery(galleries.GetGalleryRequest(name="galleries/g")).gallery
        assert (kept.class_count, kept.model, kept.HasField("calibration")) == (3, f"models/{first}", False)
        # A calibration of before does not stay for want of its model.
        calibrated.gallery.ClearField("calibration")
        stubs.galleries.UpdateGallery(calibrated)


def test_a_full_disk_is_told_and_loses_nothing(tiny_bundle: Path, tmp_path: Path) -> None:
    with ServerProcess(tiny_bundle, tmp_path, "--max-data-bytes", str(1024 * 1024)) as server:
        stubs = Stubs(server.channel())
        enroll(stubs, "g", range(3))
        large = png((1100, 1100))
        with pytest.raises(grpc.RpcError) as refused:
            stubs.galleries.EnrollClass(enrollment("large", large))
        assert refusal(refused.value)[:2] == ("RESOURCE_EXHAUSTED", "DISK_FULL")
        assert classify(stubs, "galleries/g", png(seed=1)).matches[0].class_id == "c1"
        enroll(stubs, "h", range(3))
