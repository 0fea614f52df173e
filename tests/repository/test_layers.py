"""Imports run one way, and each library is known in one place only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PACKAGES = {
    "exemplar": ROOT / "client/exemplar",
    "exemplar_encoder": ROOT / "encoder/exemplar_encoder",
    "exemplar_trainer": ROOT / "trainer/exemplar_trainer",
    "exemplar_server": ROOT / "server/exemplar_server",
    "exemplar_indexer": ROOT / "indexer/exemplar_indexer",
}

MAY_IMPORT = {
    "exemplar": set(),
    "exemplar_encoder": set(),
    "exemplar_trainer": {"exemplar", "exemplar_encoder"},
    "exemplar_server": {"exemplar_encoder", "exemplar.v1", "exemplar.ids"},
    "exemplar_indexer": {"exemplar", "exemplar_encoder"},
}


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files(package: str) -> list[Path]:
    found = sorted(PACKAGES[package].rglob("*.py"))
    assert found, f"{PACKAGES[package]} holds no code"
    return found


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_the_packages_below_it(package: str) -> None:
    allowed = {package, *MAY_IMPORT[package]}
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in files(package)
        for module in imports(path)
        if any(within(module, other) for other in PACKAGES) and not any(within(module, name) for name in allowed)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("folder", "libraries"),
    [("rpc", ("grpc", "google", "exemplar.v1", "grpc_health", "grpc_reflection")), ("store", ("sqlite3", "faiss"))],
)
def test_inside_the_server_a_library_is_known_in_one_place(folder: str, libraries: tuple[str, ...]) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in files("exemplar_server")
        if folder not in path.parts
        for module in imports(path)
        if any(within(module, library) for library in libraries)
    ]
    assert wrong == []


def test_only_what_serves_exports_fuses_or_quiets_with_it_knows_tensorflow() -> None:
    knowing = {
        path.name
        for package in PACKAGES
        for path in files(package)
        if any(within(module, "tensorflow") for module in imports(path))
    }
    assert knowing == {"tensorflow.py", "write.py", "saved_model.py", "fused_normalization.py", "backend.py"}
