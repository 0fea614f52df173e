"""Imports run one way, between packages and between the trainer's rooms; each library is known in one place only."""

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

MAY_IMPORT: dict[str, set[str]] = {
    "exemplar": {"exemplar_encoder.shrink", "exemplar_encoder.region"},  # to shrink pictures, where that is asked
    "exemplar_encoder": set(),
    "exemplar_trainer": {"exemplar", "exemplar_encoder"},
    "exemplar_server": {"exemplar_encoder", "exemplar.v1", "exemplar.names", "exemplar.commands"},
    "exemplar_indexer": {"exemplar", "exemplar_encoder", "exemplar_server.store", "exemplar_server.errors"},
}

# The rooms of the trainer, each above those that it may import.
ROOMS: dict[str, set[str]] = {
    "data": set(),
    "networks": set(),
    "losses": set(),
    "augmentation": set(),
    "samplers": {"data"},
    "recipes": {"networks", "losses", "augmentation"},
    "training": {"data", "networks", "losses", "augmentation", "samplers", "recipes"},
    "evaluation": {"data"},
    "calibration": {"data", "evaluation"},
    "reports": {"data", "evaluation", "calibration"},
    "bundles": {"data", "networks", "training", "evaluation", "calibration", "reports"},
    "cli": {"data", "networks", "recipes", "training", "evaluation", "calibration", "reports", "bundles"},
}

# These judge bundles by their engines, and need no more than the extra `evaluate`.
WITHOUT_KERAS = ("data", "evaluation", "calibration", "reports")

# Of the room that makes bundles, what any network passes through; the extra `export` is enough for it.
WITHOUT_KERAS_IN_BUNDLES = ("external_model", "onnx_model")


def imports(path: Path) -> Iterator[str]:
    """Yield every name that a file imports from elsewhere, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files(package: str) -> list[Path]:
    found = sorted(PACKAGES[package].rglob("*.py"))
    assert found, f"{PACKAGES[package]} holds no code"
    return found


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def module_name(path: Path, package: str) -> str:
    parts = path.relative_to(PACKAGES[package].parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str | None:
    """Return the room of the trainer that a module is in; None for others."""
    parts = module.split(".")
    return parts[1] if parts[0] == "exemplar_trainer" and len(parts) > 1 and parts[1] in ROOMS else None


def module_graph() -> dict[str, set[str]]:
    """Return the modules of ours that each one imports, lazily too; a name in a package is its module, if it is one.

    A package's `__init__` counts where a name is taken from it, not where it only leads to a module within.
    """
    modules = {module_name(path, package): path for package in PACKAGES for path in files(package)}
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        found = set()
        for name in imports(path):
            owner = name if name in modules else name.rpartition(".")[0]
            if owner in modules and owner != module:
                found.add(owner)
        graph[module] = found
    return graph


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the strongly connected components of two nodes or more (Tarjan, 1972)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in order:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], order[other])
        if low[node] == order[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for node in sorted(graph):
        if node not in order:
            visit(node)
    return sorted(found)


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


def test_the_trainer_is_a_list_of_rooms() -> None:
    inside = {path.name for path in PACKAGES["exemplar_trainer"].iterdir()} - {"__pycache__"}
    assert inside == {*ROOMS, "__init__.py", "py.typed"}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_the_rooms_below_it(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files("exemplar_trainer")
        if room_of(module_name(path, "exemplar_trainer")) == room
        for name in imports(path)
        if within(name, "exemplar_trainer") and room_of(name) not in {room, *ROOMS[room]}
    ]
    assert wrong == []


def test_the_table_of_rooms_has_a_bottom() -> None:
    assert cycles(ROOMS) == []


@pytest.mark.parametrize("room", WITHOUT_KERAS)
def test_a_room_that_judges_needs_neither_keras_nor_tensorflow(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files("exemplar_trainer")
        if room_of(module_name(path, "exemplar_trainer")) == room
        for name in imports(path)
        if any(within(name, library) for library in ("keras", "tensorflow"))
    ]
    assert wrong == []
    assert ROOMS[room] <= set(WITHOUT_KERAS)


@pytest.mark.parametrize("module", WITHOUT_KERAS_IN_BUNDLES)
def test_what_makes_a_bundle_of_any_network_needs_neither_keras_nor_tensorflow(module: str) -> None:
    graph = module_graph()
    reached, waiting = set[str](), [f"exemplar_trainer.bundles.{module}"]
    while waiting:
        one = waiting.pop()
        reached.add(one)
        waiting += graph[one] - reached
    paths = [path for path in files("exemplar_trainer") if module_name(path, "exemplar_trainer") in reached]
    assert paths
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in paths
        for name in imports(path)
        if any(within(name, library) for library in ("keras", "tensorflow"))
    ]
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert cycles(module_graph()) == []


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}, [["a", "b", "c"]]),
        ({"a": {"b"}, "b": {"a"}, "c": {"d", "a"}, "d": {"c"}}, [["a", "b"], ["c", "d"]]),
    ],
)
def test_a_circle_is_found_where_there_is_one(edges: dict[str, set[str]], expected: list[list[str]]) -> None:
    assert cycles(edges) == expected


# Each library of the server is known in one room only, and gRPC also where Milvus's client lets its errors through.
KNOWN_IN = {
    "rpc": ("grpc", "google", "exemplar.v1", "grpc_health", "grpc_reflection"),
    "store/truth": ("sqlite3", "psycopg"),
    "store/index": ("faiss", "pymilvus"),
}
ALSO_KNOWN = {("milvus_collection.py", "grpc")}


@pytest.mark.parametrize("room", KNOWN_IN)
def test_inside_the_server_a_library_is_known_in_one_room(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in files("exemplar_server")
        if f"/exemplar_server/{room}/" not in path.as_posix()
        for module in imports(path)
        for library in KNOWN_IN[room]
        if within(module, library) and (path.name, library) not in ALSO_KNOWN
    ]
    assert wrong == []


def test_the_truth_knows_nothing_of_indexes() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in files("exemplar_server")
        if "/store/truth/" in path.as_posix()
        for module in imports(path)
        if within(module, "exemplar_server.store.index")
    ]
    assert wrong == []


def test_only_what_serves_exports_fuses_or_quiets_with_it_knows_tensorflow() -> None:
    knowing = {
        path.name
        for package in PACKAGES
        for path in files(package)
        if any(within(module, "tensorflow") for module in imports(path))
    }
    assert knowing == {"tensorflow.py", "litert.py", "saved_model.py", "fused_normalization.py", "backend.py"}
