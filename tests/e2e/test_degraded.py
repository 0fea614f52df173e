"""A server that is short of something serves the rest, and says so in the log, in the metrics and to who asks."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from demo.server_process import ServerProcess
from exemplar import Client, ExemplarError
from tests.e2e.stubs import png

pytestmark = [pytest.mark.slow, pytest.mark.process]


@pytest.fixture
def damaged(tiny_bundle: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    """Serve galleries `broken`, of whose classes `b` is damaged, and `whole`."""
    with ServerProcess(tiny_bundle, tmp_path) as server:
        with Client(server.address) as client:
            for gallery in ("broken", "whole"):
                client.create_gallery(gallery)
                for number, class_id in enumerate("abc"):
                    client.enroll(gallery, class_id, png(seed=number))
        server.stop()
        with closing(sqlite3.connect(tmp_path / "exemplar.db")) as database, database:
            database.execute("UPDATE classes SET display_name = 'x' WHERE gallery = 'broken' AND id = 'b'")
        yield server.restart()


def test_damage_is_told_from_the_start_until_it_is_mended_and_costs_no_listing(damaged: ServerProcess) -> None:
    with Client(damaged.address) as client:
        assert damaged.wait_for("a gallery is damaged")["gallery"] == "broken"
        answer = damaged.readiness()
        assert (answer["status"], answer["state"], list(answer["degraded"])) == (200, "serving", ["damage"])
        assert "'b' of gallery 'broken'" in answer["degraded"]["damage"]
        assert damaged.metric('exemplar_degraded{condition="damage"}') == 1
        listed = {each.id: each.damaged for each in client.classes("broken", embeddings=True)}
        assert listed == {"a": False, "b": True, "c": False}
        with pytest.raises(ExemplarError, match="'b' of gallery 'broken'"):
            client.classify("broken", png(seed=0))
        assert client.classify("whole", png(seed=1)).matches[0].class_id == "b"
        client.enroll("broken", "b", png(seed=1))
        assert not damaged.readiness()["degraded"]
        assert client.classify("broken", png(seed=1)).matches[0].class_id == "b"


def test_the_metrics_page_names_no_gallery(damaged: ServerProcess) -> None:
    page = damaged.metrics()
    assert "exemplar_galleries 2.0" in page
    assert "exemplar_classes 6.0" in page
    assert "broken" not in page
    assert "whole" not in page


def test_a_store_that_cannot_be_written_any_more_is_read_until_it_can(tiny_bundle: Path, tmp_path: Path) -> None:
    with ServerProcess(tiny_bundle, tmp_path) as server:
        with Client(server.address, attempts=1) as client:
            client.create_gallery("g")
            client.enroll("g", "a", png())
            _, most = resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
            for change in (lambda: client.enroll("g", "b", png(seed=1)), lambda: client.delete_class("g", "a")):
                with pytest.raises(ExemplarError, match="nothing was changed") as refused:
                    change()
                assert (refused.value.code, refused.value.reason) == ("UNAVAILABLE", "DISK_FAILING")
            assert list(server.readiness()["degraded"]) == ["read_only"]
            assert server.metric('exemplar_degraded{condition="read_only"}') == 1
            assert client.classify("g", png()).matches[0].class_id == "a"
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (most, most))
            client.enroll("g", "b", png(seed=1))
            assert not server.readiness()["degraded"]
        server.kill()
        with Client(server.restart().address) as client:
            assert [each.id for each in client.classes("g")] == ["a", "b"]
