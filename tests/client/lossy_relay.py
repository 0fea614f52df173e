"""A relay to a real server that loses the first response to each request: the change is made, the client not told."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc


@dataclass
class LossyRelay(grpc.GenericRpcHandler):
    """Hands requests on as they are; remembers the methods whose response it lost."""

    channel: grpc.Channel
    address: str = ""
    lost: list[str] = field(default_factory=list)
    _seen: set[tuple[str, bytes]] = field(default_factory=set)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        method = handler_call_details.method
        return grpc.unary_unary_rpc_method_handler(lambda request, context: self._relay(method, request, context))

    def _relay(self, method: str, request: bytes, context: grpc.ServicerContext) -> bytes:
        # Without serializers a call takes and gives bytes, which its types do not know.
        call: Any = self.channel.unary_unary(method)
        try:
            response: bytes = call(request, timeout=60)
        except grpc.RpcError as error:
            trailing: Any = error.trailing_metadata()
            context.set_trailing_metadata(trailing)
            context.abort(error.code(), error.details() or "")
        if (method, request) not in self._seen:
            self._seen.add((method, request))
            self.lost.append(method.rpartition("/")[2])
            context.abort(grpc.StatusCode.UNAVAILABLE, "the response was lost")
        return response


@contextmanager
def lossy_relay(address: str) -> Iterator[LossyRelay]:
    """Run a relay to the server at `address` on a free loopback port."""
    with grpc.insecure_channel(address) as channel:
        relay = LossyRelay(channel)
        server = grpc.server(ThreadPoolExecutor(4), handlers=[relay])
        relay.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            yield relay
        finally:
            server.stop(None).wait()
