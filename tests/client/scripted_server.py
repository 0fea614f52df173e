"""A gRPC server on a real socket whose answers a test writes itself, for what a real server does rarely on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2, duration_pb2, message_factory
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from exemplar.v1 import classification_service_pb2, gallery_service_pb2, model_service_pb2

Answer = Callable[[Any, grpc.ServicerContext], Message]


@dataclass
class ScriptedServer(grpc.GenericRpcHandler):
    """Answers each method with the function of its name; remembers what came in."""

    answers: Mapping[str, Answer]
    address: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    metadata: list[dict[str, str]] = field(default_factory=list)

    def methods_called(self) -> list[str]:
        return [method for method, _ in self.calls]

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        _, service, name = handler_call_details.method.split("/")
        for module in (classification_service_pb2, gallery_service_pb2, model_service_pb2):
            found = module.DESCRIPTOR.services_by_name.get(service.rpartition(".")[2])
            if found and name in self.answers:
                return grpc.unary_unary_rpc_method_handler(
                    lambda request, context: self._answer(name, request, context),
                    message_factory.GetMessageClass(found.methods_by_name[name].input_type).FromString,
                    lambda response: response.SerializeToString(),
                )
        return None

    def _answer(self, name: str, request: Any, context: grpc.ServicerContext) -> Message:
        self.calls.append((name, request))
        self.metadata.append({key: str(value) for key, value in context.invocation_metadata()})
        return self.answers[name](request, context)


@contextmanager
def scripted_server(
    answers: Mapping[str, Answer], credentials: grpc.ServerCredentials | None = None
) -> Iterator[ScriptedServer]:
    """Run a scripted server on a free loopback port."""
    scripted = ScriptedServer(answers)
    limits = [("grpc.max_receive_message_length", 32 << 20), ("grpc.max_send_message_length", 32 << 20)]
    server = grpc.server(ThreadPoolExecutor(4), handlers=[scripted], options=limits)
    if credentials:
        scripted.address = f"localhost:{server.add_secure_port('localhost:0', credentials)}"
    else:
        scripted.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield scripted
    finally:
        server.stop(None).wait()


def status(
    code: grpc.StatusCode, message: str, reason: str = "", retry_after: int | None = None, **facts: str
) -> status_pb2.Status:
    """Build a status as the server gives it."""
    details = []
    if reason:
        details.append(any_pb2.Any())
        details[-1].Pack(error_details_pb2.ErrorInfo(reason=reason, domain="exemplar", metadata=facts))
    if retry_after is not None:
        details.append(any_pb2.Any())
        details[-1].Pack(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=retry_after)))
    return status_pb2.Status(code=code.value[0], message=message, details=details)


def fail(context: grpc.ServicerContext, *arguments: Any, **facts: Any) -> NoReturn:
    """End a call with a status; arguments as `status`."""
    end = status(*arguments, **facts)
    context.set_trailing_metadata((("grpc-status-details-bin", end.SerializeToString()),))
    context.abort(arguments[0], end.message)
    raise AssertionError("abort returned")
