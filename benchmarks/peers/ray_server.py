"""Ray Serve: an HTTP proxy in front of as many replicas as cores."""

from __future__ import annotations

import os
import threading

import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from benchmarks.peers.work import Work


@serve.deployment(num_replicas=os.cpu_count() or 1, max_ongoing_requests=64, ray_actor_options={"num_cpus": 0.1})
class Naming:
    """A replica."""

    def __init__(self) -> None:
        self._work = Work()

    @serve.batch(max_batch_size=int(os.environ["PEERS_BATCH"]), batch_wait_timeout_s=0.002)
    async def _name(self, images: list[bytes]) -> list[str]:
        return self._work.name(images)

    async def __call__(self, request: Request) -> Response:
        """Name a picture."""
        return Response(await self._name(await request.body()))


if __name__ == "__main__":
    ray.init(include_dashboard=False, log_to_driver=False, num_cpus=os.cpu_count())
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["PEERS_PORT"])})
    serve.run(Naming.bind(), route_prefix="/inference")
    threading.Event().wait()
