"""Importing the client is quick and brings nothing that a thin client has no use for."""

from __future__ import annotations

import inspect
import subprocess
import sys

import exemplar
from exemplar import AsyncClient, Client

HEAVY = {"numpy", "PIL", "typer", "rich", "tensorflow", "keras", "faiss", "ai_edge_litert", "asyncio.subprocess"}


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_importing_the_client_loads_no_heavy_module() -> None:
    loaded = run("import exemplar, sys; print('\\n'.join(sys.modules))").split()
    assert "exemplar" in loaded
    assert not {name for name in loaded if name.partition(".")[0] in HEAVY or name.startswith("exemplar_")}


def test_importing_the_client_takes_far_less_than_a_second() -> None:
    timing = "import time; start = time.process_time(); import exemplar; print(time.process_time() - start)"
    assert min(float(run(timing)) for _ in range(3)) < 0.6


def test_every_public_name_is_there_and_documented() -> None:
    assert list(exemplar.__all__) == sorted(exemplar.__all__, key=lambda name: (not name.isupper(), name))
    bare = [
        name
        for name in exemplar.__all__
        if inspect.isclass(getattr(exemplar, name)) and not inspect.getdoc(getattr(exemplar, name))
    ]
    assert not bare


def public_methods(client: type) -> dict[str, inspect.Signature]:
    return {
        name: inspect.signature(method)
        for name, method in inspect.getmembers(client, inspect.isfunction)
        if not name.startswith("_") or name == "__init__"
    }


def test_both_clients_have_the_same_methods_with_the_same_arguments() -> None:
    synchronous, asynchronous = public_methods(Client), public_methods(AsyncClient)
    assert synchronous.keys() == asynchronous.keys()
    for name, signature in synchronous.items():
        assert signature.parameters == asynchronous[name].parameters, name
