"""A disk that is full: what was stored is served, and deletions make room again."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from demo.server_process import EXEMPLAR, ServerProcess
from exemplar import Client, ExemplarError
from tests.e2e.stubs import png

pytestmark = [pytest.mark.slow, pytest.mark.process]

# The server in a room of its own, where its data directory is a disk of 24 MiB.
ON_A_SMALL_DISK = """#!/bin/sh
exec unshare -rm sh -c 'mount -t tmpfs -o size=24m tmpfs "{folder}" && exec "$0" "$@"' "{exemplar}" "$@"
"""


class SmallDisk(NamedTuple):
    """A data directory, and the program in place of `exemplar` that finds a small disk there."""

    folder: Path
    program: str


@pytest.fixture
def small_disk(tmp_path: Path) -> SmallDisk:
    folder = tmp_path / "data"
    folder.mkdir()
    tried = subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", str(folder)], capture_output=True)
    if tried.returncode:
        pytest.skip("this system lets nobody mount a disk in a namespace of his own")
    script = tmp_path / "exemplar"
    script.write_text(ON_A_SMALL_DISK.format(folder=folder, exemplar=EXEMPLAR))
    script.chmod(0o755)
    return SmallDisk(folder, str(script))


@contextmanager
def until_the_disk_is_full() -> Iterator[None]:
    with pytest.raises(ExemplarError) as refused:
        yield
    assert refused.value.reason == "DISK_FULL"


def test_on_a_full_disk_all_is_served_and_deletions_make_room(tiny_bundle: Path, small_disk: SmallDisk) -> None:
    picture = png((300, 300))  # of noise
    served = ServerProcess(tiny_bundle, small_disk.folder, program=(small_disk.program,))
    with served as server, Client(server.address) as client:
        client.create_gallery("g")
        stored: list[str] = []
        with until_the_disk_is_full():
            for number in range(1000):
                client.enroll("g", f"c{number}", picture)
                stored.append(f"c{number}")
        assert len(stored) > 10
        assert list(server.readiness()["degraded"]) == ["disk_full"]
        assert server.metric('exemplar_degraded{condition="disk_full"}') == 1
        assert [each.id for each in client.classes("g")] == sorted(stored)
        assert client.classify("g", picture).matches[0].class_id in stored
        for class_id in stored[: len(stored) // 2]:
            client.delete_class("g", class_id)
        client.enroll("g", "again", picture)
        assert server.readiness() == {"status": 200, "state": "serving", "degraded": {}}
        told = [json.loads(line)["event"] for line in server.log.splitlines() if '"disk_full"' in line]
        assert told == ["degraded", "no longer degraded"]
        assert client.get_gallery("g").class_count == len(stored) - len(stored) // 2 + 1
