"""An accident in a handler becomes INTERNAL with an incident to look up, and the server goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
import structlog

from exemplar_server.access.admittance import Admittance
from exemplar_server.access.policy import Policy
from exemplar_server.errors import NotFoundError
from exemplar_server.logs import configure_logs
from exemplar_server.metrics import Metrics
from exemplar_server.rpc.admission import Admission
from exemplar_server.rpc.interceptor import CallInterceptor

POLICIES = {"/test.Echo/Echo": Policy("read")}


async def echo(request: bytes, context: object) -> bytes:
    if request == b"boom":
        raise ZeroDivisionError("an accident")
    if request == b"none":
        raise NotFoundError("CLASS_NOT_FOUND", "no such class")
    return request


async def ask(requests: list[bytes], metrics: Metrics) -> list[bytes | tuple[str, str]]:
    """Serve over a real socket; return answers, and code and details where a call failed."""
    interceptor = CallInterceptor(metrics, Admittance(), Admission(100, 1 << 20, 1 << 20), policies=POLICIES)
    interceptor.open()
    server = grpc.aio.server(interceptors=[interceptor])
    handlers: dict[str, Any] = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    answers: list[bytes | tuple[str, str]] = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test.Echo/Echo")
        for request in requests:
            try:
                answers.append(await call(request))
            except grpc.aio.AioRpcError as error:
                answers.append((error.code().name, error.details() or ""))
    assert await interceptor.drain(30)
    await server.stop(None)
    return answers


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("form", ["json", "console"])
def test_the_log_of_an_accident_does_not_hold_what_was_sent(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(form, "info")
    asyncio.run(ask([b"boom"], Metrics()))
    log = capsys.readouterr().err
    assert "an accident" in log
    assert "b'boom'" not in log


def test_an_accident_is_internal_with_an_incident_that_the_log_explains(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json", "info")
    metrics = Metrics()
    first, accident, missing, last = asyncio.run(ask([b"a", b"boom", b"none", b"b"], metrics))
    assert (first, last, missing) == (b"a", b"b", ("NOT_FOUND", "no such class"))
    code, details = accident
    assert code == "INTERNAL"
    assert "ZeroDivisionError" not in str(details)
    logged = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (failed,) = [entry for entry in logged if entry["event"] == "failed"]
    assert failed["incident"] in str(details)
    assert "an accident" in json.dumps(failed)
    counts = {
        code: metrics.registry.get_sample_value("exemplar_requests_total", {"method": "Echo", "code": code})
        for code in ("OK", "INTERNAL", "NOT_FOUND")
    }
    assert counts == {"OK": 2, "INTERNAL": 1, "NOT_FOUND": 1}
