"""A server that dies at the worst moments, over and over, has all that it acknowledged and nothing else."""

from __future__ import annotations

import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from demo.server_process import ServerProcess
from exemplar.channel import options
from tests.durability.dying_server import MOMENTS
from tests.durability.scale import SCALE
from tests.e2e.auditing import Report, audit, make_writers
from tests.e2e.several_servers import free_port
from tests.e2e.stubs import Stubs
from tests.e2e.writer import Tally

WRITERS = 4
CHANGES = 40
AT_ANY_TIME = "at-any-time"

pytestmark = [pytest.mark.slow, pytest.mark.process]


class Mortal:
    """A server that can be told when to die, and its writers."""

    def __init__(self, server: ServerProcess, address: str, folder: Path) -> None:
        self.server = server
        self._told = folder / "dies-at"
        self._indexes = folder / "data" / "indexes"
        server.wait_until_serving()
        self.channel = grpc.insecure_channel(address, options(address, 2, None))
        self.stubs = Stubs(self.channel)
        self.writers = make_writers([self.stubs, self.stubs], WRITERS)

    def run_round(self, moment: str, rng: random.Random) -> Report:
        """Let writers change things while the server dies at a moment and is started again, and count."""
        tally = Tally(CHANGES)
        started = time.monotonic()
        with ThreadPoolExecutor(WRITERS) as pool:
            running = [pool.submit(each.run, tally, random.Random(rng.random())) for each in self.writers]
            self._die(moment, tally, rng)
            for each in running:
                each.result()
        report = Report(tally.acknowledged, tally.repeated, time.monotonic() - started, [moment], unseen=tally.unseen)
        audit(self.stubs, moment, self.writers, report)
        return report

    def _die(self, moment: str, tally: Tally, rng: random.Random) -> None:
        if moment == AT_ANY_TIME:
            tally.wait_for(rng.randrange(5, 25))
            self.server.kill()
        elif "an-index" in moment:
            tally.wait_for(rng.randrange(5, 25))
            self.server.kill()
            shutil.rmtree(self._indexes, ignore_errors=True)  # so that they are built anew
            self._told.write_text(f"{moment} 1")
            self.server.restart()
            assert self.server.wait() == -signal.SIGKILL
        else:
            self._told.write_text(f"{moment} {rng.randrange(1, 10)}")
            assert self.server.wait() == -signal.SIGKILL
        self._told.unlink(missing_ok=True)
        self.server.restart().wait_until_serving()


@pytest.fixture
def mortal(tiny_bundle: Path, tmp_path: Path) -> Iterator[Mortal]:
    address = f"127.0.0.1:{free_port()}"
    program = [sys.executable, "-m", "tests.durability.dying_server"]
    env = {"DIES_AT": str(tmp_path / "dies-at")}
    with ServerProcess(tiny_bundle, tmp_path / "data", "--address", address, program=program, env=env) as server:
        mortal = Mortal(server, address, tmp_path)
        with mortal.channel:
            yield mortal


def test_a_server_that_dies_at_any_moment_of_a_change_or_a_rebuild_loses_and_makes_up_nothing(mortal: Mortal) -> None:
    rng, rounds, acknowledged = random.Random(0), 0, 0
    for _ in range(SCALE):
        for moment in [AT_ANY_TIME, *MOMENTS]:
            report = mortal.run_round(moment, rng)
            assert report.clean, report
            assert report.acknowledged == CHANGES
            rounds, acknowledged = rounds + 1, acknowledged + CHANGES
    print(f"{rounds:,} rounds, {acknowledged:,} acknowledged changes: 0 lost, 0 made up, 0 wrong")
