"""Several servers on one PostgreSQL: what they promise together, and how one behaves whose database is away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2

from demo.server_process import ServerProcess
from exemplar.v1 import gallery_service_pb2 as galleries
from tests.e2e.several_servers import cluster
from tests.e2e.stubs import Stubs, classify, image, png, refusal, status_of
from tests.postgres_server import PostgresServer

PATIENCE = 60
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

pytestmark = pytest.mark.process


@pytest.fixture
def database() -> Iterator[PostgresServer]:
    """Return a PostgreSQL that may be killed."""
    with PostgresServer() as server:
        yield server


@pytest.mark.slow
def test_no_kill_of_a_server_or_the_database_loses_or_makes_up_a_change_and_each_is_seen_everywhere_at_once(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    with cluster(tiny_bundle, tmp_path) as both:
        for seed in range(2):
            report = both.run_round(150, seed)
            assert report.clean, report
            assert report.acknowledged == 150
            assert sorted(report.kills) == ["database", "server 0", "server 1"]


def test_while_its_database_is_away_a_server_says_so_and_afterwards_it_serves_again(
    tiny_bundle: Path, tmp_path: Path, database: PostgresServer
) -> None:
    enrollment = galleries.Enrollment(class_id="a", images=[image(png())])
    calls: dict[str, Callable[[Stubs], object]] = {
        "Classify": lambda stubs: classify(stubs, "galleries/g", png()),
        "EnrollClass": lambda stubs: stubs.galleries.EnrollClass(
            galleries.EnrollClassRequest(gallery="galleries/g", enrollment=enrollment)
        ),
        "GetGallery": lambda stubs: stubs.galleries.GetGallery(galleries.GetGalleryRequest(name="galleries/g")),
    }
    with ServerProcess(tiny_bundle, tmp_path, "--store", database.url) as server:
        stubs = Stubs(server.channel())
        stubs.galleries.CreateGallery(galleries.CreateGalleryRequest(gallery_id="g"))
        calls["EnrollClass"](stubs)
        watch = stubs.health.Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
        assert next(watch).status == SERVING
        database.kill()
        assert next(watch).status == NOT_SERVING
        for call in calls.values():
            with pytest.raises(grpc.RpcError) as refused:
                call(stubs)
            assert refusal(refused.value)[:2] == ("UNAVAILABLE", "STORE_UNAVAILABLE")
            assert any(
                detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in status_of(refused.value).details
            )
        database.start()
        assert next(watch).status == SERVING
        for call in calls.values():
            call(stubs)
        assert server.stop() == 0


def test_a_server_that_is_started_before_its_database_waits_for_it(
    tiny_bundle: Path, tmp_path: Path, database: PostgresServer
) -> None:
    database.stop()
    with ServerProcess(tiny_bundle, tmp_path, "--store", database.url) as server:
        server.wait_for("loading")
        database.start()
        stubs = Stubs(server.channel())
        stubs.galleries.CreateGallery(galleries.CreateGalleryRequest(gallery_id="g"))


def test_a_gallery_that_is_deleted_and_made_anew_at_one_server_is_so_at_the_other(
    tiny_bundle: Path, tmp_path: Path, postgres_url: str
) -> None:
    def make(stubs: Stubs, class_id: str, seed: int) -> None:
        stubs.galleries.CreateGallery(galleries.CreateGalleryRequest(gallery_id="g"))
        enrollment = galleries.Enrollment(class_id=class_id, images=[image(png(seed=seed))])
        stubs.galleries.EnrollClass(galleries.EnrollClassRequest(gallery="galleries/g", enrollment=enrollment))

    with (
        ServerProcess(tiny_bundle, tmp_path / "a", "--store", postgres_url) as first,
        ServerProcess(tiny_bundle, tmp_path / "b", "--store", postgres_url) as second,
    ):
        here, there = Stubs(first.channel()), Stubs(second.channel())
        make(here, "old", 1)
        assert [match.class_id for match in classify(there, "galleries/g", png(seed=1)).matches] == ["old"]
        here.galleries.DeleteGallery(galleries.DeleteGalleryRequest(name="galleries/g", force=True))
        with pytest.raises(grpc.RpcError) as refused:
            classify(there, "galleries/g", png(seed=1))
        assert refusal(refused.value)[1] == "GALLERY_NOT_FOUND"
        make(here, "new", 1)
        assert [match.class_id for match in classify(there, "galleries/g", png(seed=1)).matches] == ["new"]
