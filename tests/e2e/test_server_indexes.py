"""The server with an index that is not its own: a Milvus server that loses rows, is killed and comes back."""

from __future__ import annotations

import time
from pathlib import Path

import grpc
import pytest

from demo.server_process import ServerProcess
from exemplar.v1 import gallery_service_pb2 as galleries
from tests.e2e.stubs import Stubs, classify, image, png, refusal
from tests.milvus_server import MilvusProcess

pytestmark = pytest.mark.process


def enroll(stubs: Stubs, seeds: range) -> None:
    enrollments = [galleries.Enrollment(class_id=f"c{seed}", images=[image(png(seed=seed))]) for seed in seeds]
    request = galleries.BatchEnrollClassesRequest(gallery="galleries/g", enrollments=enrollments)
    response = stubs.galleries.BatchEnrollClasses(request)
    assert all(result.HasField("enrolled") for result in response.results)


def named(stubs: Stubs, seed: int) -> str:
    return str(classify(stubs, "galleries/g", png(seed=seed)).matches[0].class_id)


def named_once_it_can_be(stubs: Stubs, seed: int) -> str:
    """Ask until the answer is another than to come back later."""
    give_up = time.monotonic() + 60
    while True:
        try:
            return named(stubs, seed)
        except grpc.RpcError as error:
            if refusal(error)[0] != "UNAVAILABLE" or time.monotonic() > give_up:
                raise


def test_queries_are_answered_right_whatever_becomes_of_milvus(tiny_bundle: Path, tmp_path: Path) -> None:
    with (
        MilvusProcess(tmp_path) as milvus,
        ServerProcess(tiny_bundle, tmp_path / "galleries", "--index", f"milvus:{milvus.address}") as server,
    ):
        stubs = Stubs(server.channel())
        stubs.galleries.CreateGallery(galleries.CreateGalleryRequest(gallery_id="g"))
        enroll(stubs, range(12))
        assert [named(stubs, seed) for seed in range(12)] == [f"c{seed}" for seed in range(12)]
        milvus.kill()
        enroll(stubs, range(12, 16))  # is acknowledged: the truth has it
        with pytest.raises(grpc.RpcError) as away:
            named(stubs, 3)
        assert refusal(away.value)[:2] == ("UNAVAILABLE", "INDEX_UNAVAILABLE")
        milvus.lose_writes()
        milvus.start()
        assert named_once_it_can_be(stubs, 3) == "c3"
        assert [named(stubs, seed) for seed in range(16)] == [f"c{seed}" for seed in range(16)]
        server.restart()
        assert named(Stubs(server.channel()), 14) == "c14"


def test_a_milvus_server_that_is_away_at_the_start_costs_searches_only(tiny_bundle: Path, tmp_path: Path) -> None:
    with ServerProcess(tiny_bundle, tmp_path, "--index", "milvus:http://127.0.0.1:9") as server:
        stubs = Stubs(server.channel())
        stubs.galleries.CreateGallery(galleries.CreateGalleryRequest(gallery_id="g"))
        assert stubs.galleries.GetGallery(galleries.GetGalleryRequest(name="galleries/g")).gallery.class_count == 0
