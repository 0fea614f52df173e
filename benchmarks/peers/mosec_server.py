"""mosec: a front in Rust, and worker processes that take requests over a socket."""

from __future__ import annotations

import os

from mosec import Server, Worker

from benchmarks.peers.work import Work


class Naming(Worker):
    """A process of its own; by batches where the server was started with more than one image a batch."""

    def __init__(self) -> None:
        super().__init__()
        self._work = Work()
        self._batches = int(os.environ["PEERS_BATCH"]) > 1

    def deserialize(self, data: bytes) -> bytes:
        """Take the picture as it came, which is a bytearray."""
        return bytes(data)

    def serialize(self, data: str) -> bytes:
        """Answer with the id."""
        return data.encode()

    def forward(self, data: list[bytes] | bytes) -> list[str] | str:
        """Name pictures."""
        return self._work.name(data) if isinstance(data, list) else self._work.name([data])[0]


if __name__ == "__main__":
    server = Server()
    server.append_worker(
        Naming, num=os.cpu_count() or 1, max_batch_size=int(os.environ["PEERS_BATCH"]), max_wait_time=2
    )
    server.run()
