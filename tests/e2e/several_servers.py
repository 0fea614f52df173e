"""Two servers on one PostgreSQL, written to from all sides while any of the three is killed; and what is left of it.

Writers repeat a change, at one server and the other, until it is acknowledged; so what there must be is known to the
last revision. After each acknowledgment both servers are asked at once, and after each round they are read whole.
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc

from demo.server_process import ServerProcess
from exemplar.channel import options
from tests.e2e.auditing import Report, audit, make_writers
from tests.e2e.stubs import Stubs
from tests.e2e.writer import Tally
from tests.postgres_server import PostgresServer

WRITERS = 8


class Cluster:
    """The database, the two servers, a channel to each, and the writers; all outlive the kills between the rounds."""

    def __init__(self, bundle: Path, folder: Path, stack: ExitStack) -> None:
        self.database = stack.enter_context(PostgresServer(durable=True))
        self.addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        self.servers = [
            stack.enter_context(
                ServerProcess(bundle, folder / str(number), "--store", self.database.url, "--address", address)
            )
            for number, address in enumerate(self.addresses)
        ]
        # As the client's own, but for fewer attempts at one server, so that the other gets some of the repetitions.
        channels = [grpc.insecure_channel(address, options(address, 2, None)) for address in self.addresses]
        for channel in channels:
            stack.callback(channel.close)
        self.stubs = [Stubs(channel) for channel in channels]
        for server in self.servers:
            server.wait_until_serving()
        self.writers = make_writers(self.stubs, WRITERS)

    def run_round(self, writes: int, seed: int) -> Report:
        """Write that often, kill each of the three on the way, and count.

        Args:
            writes: how many changes are to be acknowledged.
            seed: of the order and the moments of the kills, and of the changes.
        """
        rng = random.Random(seed)
        tally = Tally(writes)
        started = time.monotonic()
        with ThreadPoolExecutor(len(self.writers) + 1) as pool:
            killing = pool.submit(self._kill, tally, rng)
            futures = [pool.submit(writer.run, tally, random.Random(rng.random())) for writer in self.writers]
            for future in futures:
                future.result()
            kills = killing.result()
        report = Report(tally.acknowledged, tally.repeated, time.monotonic() - started, kills, unseen=tally.unseen)
        for number, stubs in enumerate(self.stubs):
            audit(stubs, f"server {number}", self.writers, report)
        return report

    def _kill(self, tally: Tally, rng: random.Random) -> list[str]:
        """Kill each of the three without warning at some moment, and start it again."""
        targets = ["database", "server 0", "server 1"]
        rng.shuffle(targets)
        moments = sorted(rng.sample(range(1, tally.writes * 9 // 10), len(targets)))
        for target, moment in zip(targets, moments, strict=True):
            if not tally.wait_for(moment):
                raise RuntimeError(f"the writers came to a halt before {moment} changes")
            if target == "database":
                self.database.kill()
                self.database.start()
            else:
                server = self.servers[int(target[-1])]
                server.kill()
                server.restart().wait_until_serving()
        return targets


@contextmanager
def cluster(bundle: Path, folder: Path) -> Iterator[Cluster]:
    """Start the database and the servers; stop them at the end of the block."""
    with ExitStack() as stack:
        yield Cluster(bundle, folder, stack)


def free_port() -> int:
    """Return a port of loopback that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
