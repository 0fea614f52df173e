"""LitServe: FastAPI in front of worker processes."""

from __future__ import annotations

import base64
import os

import litserve
from fastapi import Response

from benchmarks.peers.work import Work


class Naming(litserve.LitAPI):
    """The pictures of one request, or of several as a batch."""

    def setup(self, device: str) -> None:
        """Load, in a worker."""
        self._work = Work()

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # an annotation would be taken for a schema
        """Take the picture out of JSON, the form that LitServe passes on to its workers."""
        return base64.b64decode(request["image"])

    def batch(self, inputs: list[bytes]) -> list[bytes]:
        """Keep pictures as they are."""
        return inputs

    def unbatch(self, output: list[str]) -> list[str]:
        """Answer each."""
        return output

    def predict(self, x: list[bytes] | bytes) -> list[str] | str:
        """Name pictures."""
        return self._work.name(x) if isinstance(x, list) else self._work.name([x])[0]

    def encode_response(self, output: str) -> Response:
        """Answer with the id."""
        return Response(output)


if __name__ == "__main__":
    size = int(os.environ["PEERS_BATCH"])
    api = Naming(max_batch_size=size, batch_timeout=0.002 if size > 1 else 0.0)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=os.cpu_count() or 1)
    server.run(host="127.0.0.1", port=int(os.environ["PEERS_PORT"]), generate_client_file=False)
