"""A client from its making to its end: made anywhere, used in one loop after another, closed for good."""

from __future__ import annotations

import asyncio
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from exemplar import AsyncClient, Client, UnavailableError
from exemplar.channel import WrongArgumentError, address, proxy
from exemplar.v1 import classification_service_pb2, model_service_pb2, resources_pb2
from tests.client.scripted_server import Answer, ScriptedServer, scripted_server

PICTURE = b"a picture"
WRONG_NUMBERS: list[dict[str, Any]] = [
    *({"timeout": value} for value in (math.nan, math.inf, 0, -1, "30", None)),
    *({"attempts": value} for value in (0, 6, -1, 2.5, True, math.nan)),
    *({"coalesce": value} for value in (math.nan, -0.1, math.inf)),
]


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    answers: dict[str, Answer] = {
        "ListModels": lambda request, context: model_service_pb2.ListModelsResponse(),
        "Embed": lambda request, context: classification_service_pb2.EmbedResponse(),
        "BatchEmbed": lambda request, context: classification_service_pb2.BatchEmbedResponse(
            results=[classification_service_pb2.BatchEmbedResult(embedding=resources_pb2.Embedding())]
            * len(request.images)
        ),
    }
    with scripted_server(answers) as running:
        yield running


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("wrong", WRONG_NUMBERS, ids=str)
def test_a_number_that_cannot_be_right_is_refused_by_its_name(kind: type, wrong: dict[str, Any]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"^{name} is ") as refused:
        kind("127.0.0.1:1", **wrong)
    assert repr(value) in str(refused.value)


@pytest.mark.parametrize("timeout", [math.nan, 0, -2, math.inf])
def test_a_method_s_timeout_is_looked_at_too(server: ScriptedServer, timeout: float) -> None:
    with Client(server.address) as client, pytest.raises(ValueError, match="timeout is a time in seconds"):
        list(client.models(timeout=timeout))


def test_the_command_line_refuses_the_same_with_a_sentence() -> None:
    for words in (["--timeout", "nan"], ["--address", "localhost"], ["--address", "http://host:50051"]):
        done = subprocess.run(
            [sys.executable, "-m", "exemplar.cli", "models", "list", *words], capture_output=True, text=True
        )
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("localhost", "no host and port"),
        ("http://localhost:50051", "address of a web page"),
        (":50051", "no host and port"),
        ("host:", "no port"),
        ("host:99999", "no port from 1 to 65535"),
        ("host:0", "no port from 1 to 65535"),
        ("host:fifty", "no port"),
        ("::1:50051", "no host and port"),
        ("a b:50051", "no host and port"),
        ("host:50051/path", "no port"),
    ],
)
def test_an_address_that_is_none_is_told_with_one_that_is(wrong: str, told: str) -> None:
    with pytest.raises(WrongArgumentError, match=told) as refused:
        Client(wrong)
    assert "HOST:PORT" in str(refused.value)
    assert repr(wrong) in str(refused.value)


@pytest.mark.parametrize(
    "right", ["localhost:1", "[::1]:50051", "a-b.example:65535", "unix:/run/exemplar.sock", "dns:///name:50051"]
)
def test_an_address_is_taken_as_it_is(right: str) -> None:
    assert address(right) == right


def test_a_proxy_is_told_where_no_server_answers_through_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://someone:secret@127.0.0.1:9")
    told = "through the proxy that https_proxy names"
    with (
        Client("exemplar.invalid:50051", timeout=5, attempts=1) as client,
        pytest.raises(UnavailableError, match=told) as refused,
    ):
        list(client.models())
    assert "secret" not in str(refused.value)
    monkeypatch.setenv("no_proxy", "other.example, .invalid")
    assert proxy("exemplar.invalid:50051") == ""
    assert proxy("127.0.0.1:50051") == ""


def test_an_asyncio_client_made_outside_of_a_loop_works_in_one_and_in_the_next(server: ScriptedServer) -> None:
    client = AsyncClient(server.address)

    async def ask() -> int:
        return len([each async for each in client.models()])

    first, second = asyncio.run(ask()), asyncio.run(ask())
    assert first == second

    async def end() -> None:
        await ask()
        await client.close()

    asyncio.run(end())


def test_one_with_coalescing_works_in_one_loop_after_another_too(server: ScriptedServer) -> None:
    client = AsyncClient(server.address, coalesce=0.01)
    for _ in range(2):

        async def ask() -> None:
            await asyncio.gather(*(client.embed(PICTURE) for _ in range(3)))

        asyncio.run(ask())


@pytest.mark.parametrize("used", [True, False])
def test_a_closed_client_says_that_it_is_closed(server: ScriptedServer, used: bool) -> None:
    client = Client(server.address)
    if used:
        list(client.models())
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="this client was closed"):
        list(client.models())

    async def again() -> None:
        one = AsyncClient(server.address)
        if used:
            [each async for each in one.models()]
        await one.close()
        await one.close()
        with pytest.raises(RuntimeError, match="this client was closed"):
            [each async for each in one.models()]

    asyncio.run(again())


PRINTING = """
import sys
from exemplar.cli import main
from exemplar.commands import output
def act():
    output.print_line("\\u5b57 and \\u00e9")
    output.print_table(["id"], [["\\u5b57"]])
    output.print_error("\\u5b57")
    output.print_json({"id": "\\u5b57"})
import exemplar.cli
exemplar.cli.app = lambda **_: act()
main()
"""


@pytest.mark.process
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_the_terminal_s_encoding_lacks_is_shown_escaped(encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRINTING], capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding}
    )
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode(encoding)
    assert ("字" if encoding == "utf-8" else "\\u5b57") in text
    assert json.loads(text[text.index("{") :]) == {"id": "字"}
