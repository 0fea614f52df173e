"""The client brings nothing that a thin client has no use for, and its two forms are one."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import pytest

import exemplar
from exemplar import AsyncClient, Client

ROOT = Path(__file__).resolve().parents[2]


def modules_after(code: str) -> set[str]:
    code += "; import sys; print(*sys.modules)"
    return set(
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    )


def canonical(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def base_requirements(distribution: str = "exemplar") -> set[str]:
    """Return a distribution, and all that it requires without its extras."""
    found = {canonical(distribution)}
    for line in metadata.requires(distribution) or ():
        name = re.match(r"[\w.-]+", line)
        assert name is not None
        if "extra ==" not in line and canonical(name[0]) not in found:
            with suppress(metadata.PackageNotFoundError):  # a requirement of another platform
                found |= base_requirements(name[0])
    return found


@pytest.mark.process
@pytest.mark.parametrize("module", ["exemplar", "exemplar.cli"])
def test_the_client_and_its_commands_load_nothing_but_the_base_requirements(module: str) -> None:
    # grpc by itself loads its relatives where they are installed.
    loaded = modules_after(f"import {module}") - modules_after("import grpc")
    assert module in loaded
    base, distributions = base_requirements(), metadata.packages_distributions()
    foreign = {
        package
        for package in {name.partition(".")[0] for name in loaded}
        # Some folders, such as `google`, are shared by several distributions.
        if package in distributions and base.isdisjoint(map(canonical, distributions[package]))
    }
    assert not foreign


@pytest.mark.process
def test_importing_the_client_loads_no_part_of_the_command_line_nor_of_other_packages() -> None:
    tops = {name.partition(".")[0] for name in modules_after("import exemplar")}
    assert "exemplar" in tops
    assert not tops & {"typer", "rich"}
    assert not {name for name in tops if name.startswith("exemplar_")}


def test_every_public_name_is_there_and_documented() -> None:
    assert list(exemplar.__all__) == sorted(exemplar.__all__, key=lambda name: (not name.isupper(), name))
    bare = [
        name
        for name in exemplar.__all__
        if inspect.isclass(getattr(exemplar, name)) and not inspect.getdoc(getattr(exemplar, name))
    ]
    assert not bare


@pytest.mark.process
def test_the_synchronous_client_is_what_the_asyncio_one_generates(tmp_path: Path) -> None:
    out = tmp_path / "sync"
    subprocess.run([sys.executable, ROOT / "client/generate.py", "--out", out], check=True, timeout=60)
    fresh = {path.name: path.read_text() for path in out.iterdir()}
    committed = {path.name: path.read_text() for path in (ROOT / "client/exemplar/sync").glob("*.py")}
    stale = sorted(name for name in fresh.keys() | committed.keys() if fresh.get(name) != committed.get(name))
    assert not stale, f"stale client, run `make proto`: {stale}"


def test_nothing_of_asyncio_is_left_in_the_synchronous_client() -> None:
    for path in (ROOT / "client/exemplar/sync").glob("*.py"):
        generated_from, text = path.read_text().split("\n", 1)
        assert generated_from.startswith(f"# Generated from exemplar/aio/{path.name} by `make proto`")
        assert not re.findall(r"(?i)\w*(?:async|await|aio)\w*", text)


def public_methods(client: type) -> dict[str, inspect.Signature]:
    return {
        name: inspect.signature(method)
        for name, method in inspect.getmembers(client, inspect.isfunction)
        if not name.startswith("_") or name == "__init__"
    }


def test_every_method_of_either_client_takes_a_deadline_and_is_documented() -> None:
    for client in (Client, AsyncClient):
        methods = public_methods(client)
        assert len(methods) > 20
        for name, signature in methods.items():
            assert name == "close" or "timeout" in signature.parameters, name
            assert inspect.getdoc(getattr(client, name)), name
