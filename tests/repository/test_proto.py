"""The contract is documented to the last field, keeps buf's STANDARD rules, and its stubs are fresh."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

ROOT = Path(__file__).resolve().parents[2]


def run_generator(out: Path) -> None:
    subprocess.run(
        [sys.executable, ROOT / "proto/generate.py", "--out", out], check=True, capture_output=True, timeout=120
    )


@pytest.mark.process
def test_the_committed_stubs_are_what_the_contract_generates(tmp_path: Path) -> None:
    run_generator(tmp_path)
    fresh = {path.name: path.read_text() for path in (tmp_path / "exemplar/v1").iterdir()}
    committed = {path.name: path.read_text() for path in (ROOT / "client/exemplar/v1").glob("*.py*")}
    stale = sorted(name for name in fresh.keys() | committed.keys() if fresh.get(name) != committed.get(name))
    assert not stale, f"stale stubs, run `make proto`: {stale}"


@pytest.fixture(scope="module")
def contract() -> list[descriptor_pb2.FileDescriptorProto]:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "proto/generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "contract.bin"
        generate.protoc(["--include_source_info", f"--descriptor_set_out={out}", *generate.sources()])
        return list(descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file)


def elements(
    file: descriptor_pb2.FileDescriptorProto,
) -> Iterator[tuple[tuple[int, ...], str]]:
    """Yield the source path and the name of everything that wants a comment."""
    for index, message in enumerate(file.message_type):
        yield from message_elements(message, (4, index), message.name)
    for index, enum in enumerate(file.enum_type):
        yield from enum_elements(enum, (5, index), enum.name)
    for index, service in enumerate(file.service):
        yield (6, index), service.name
        for number, method in enumerate(service.method):
            yield (6, index, 2, number), f"{service.name}.{method.name}"


def message_elements(
    message: descriptor_pb2.DescriptorProto, path: tuple[int, ...], name: str
) -> Iterator[tuple[tuple[int, ...], str]]:
    if message.options.map_entry:
        return
    yield path, name
    for index, field in enumerate(message.field):
        yield (*path, 2, index), f"{name}.{field.name}"
    for index, nested in enumerate(message.nested_type):
        yield from message_elements(nested, (*path, 3, index), f"{name}.{nested.name}")
    for index, enum in enumerate(message.enum_type):
        yield from enum_elements(enum, (*path, 4, index), f"{name}.{enum.name}")
    for index, oneof in enumerate(message.oneof_decl):
        if not oneof.name.startswith("_"):  # not those that `optional` makes
            yield (*path, 8, index), f"{name}.{oneof.name}"


def enum_elements(
    enum: descriptor_pb2.EnumDescriptorProto, path: tuple[int, ...], name: str
) -> Iterator[tuple[tuple[int, ...], str]]:
    yield path, name
    for index, value in enumerate(enum.value):
        yield (*path, 2, index), f"{name}.{value.name}"


def test_everything_in_the_contract_has_a_comment(
    contract: list[descriptor_pb2.FileDescriptorProto],
) -> None:
    walked, bare = 0, []
    for file in contract:
        comments = {tuple(each.path): each.leading_comments for each in file.source_code_info.location}
        for path, name in elements(file):
            walked += 1
            if not comments.get(path, "").strip():
                bare.append(f"{file.name}: {name}")
    assert walked > 150
    assert not bare


def test_names_follow_the_standard_rules(contract: list[descriptor_pb2.FileDescriptorProto]) -> None:
    faults = []
    for file in contract:
        if file.package != Path(file.name).parent.as_posix().replace("/", "."):
            faults.append(f"{file.name}: package {file.package} is not its path")
        for service in file.service:
            if not service.name.endswith("Service"):
                faults.append(f"{service.name} does not end in Service")
            for method in service.method:
                expected = {f".{file.package}.{method.name}{end}" for end in ("Request", "Response")}
                if {method.input_type, method.output_type} != expected:
                    faults.append(f"{method.name}: its messages are not named after it")
        for prefix, enum in enums(file):
            if enum.value[0].number != 0 or enum.value[0].name != f"{prefix}_UNSPECIFIED":
                faults.append(f"{enum.name}: the zero value is not {prefix}_UNSPECIFIED")
            faults += [
                f"{value.name} does not start with {prefix}_"
                for value in enum.value
                if not value.name.startswith(prefix + "_")
            ]
        faults += [
            f"{message.name}.{field.name} is not lower_snake_case"
            for message in file.message_type
            for field in message.field
            if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", field.name)
        ]
    assert not faults


def enums(
    file: descriptor_pb2.FileDescriptorProto,
) -> Iterator[tuple[str, descriptor_pb2.EnumDescriptorProto]]:
    nested = (enum for message in file.message_type for enum in message.enum_type)
    for enum in (*file.enum_type, *nested):
        yield re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", enum.name).upper(), enum
