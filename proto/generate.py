"""Writes the Python stubs of the contract: messages, services and their types.

This is the one place that knows the command. `make proto` calls it without arguments and the stubs land in
`client/`; the staleness test calls it with `--out` and compares.
"""

import argparse
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import google.rpc

PROTO = Path(__file__).resolve().parent
STUBS = PROTO.parent / "client"


def sources() -> list[str]:
    """Return the contract's files, relative to `proto/`, sorted."""
    return sorted(path.relative_to(PROTO).as_posix() for path in PROTO.rglob("*.proto"))


def includes() -> list[str]:
    """Return the folders in which imports are looked up: ours, protobuf's own, and `google/rpc`."""
    google_rpc = Path(next(iter(google.rpc.__path__)))
    return [str(PROTO), str(files("grpc_tools") / "_proto"), str(google_rpc.parent.parent)]


def protoc(arguments: list[str]) -> None:
    """Run the compiler on the contract, as a process: its native code bears no other protobuf beside it.

    Raises:
        RuntimeError: When protoc refuses the contract; it has printed why.
    """
    paths = [f"--proto_path={folder}" for folder in includes()]
    if subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *paths, *arguments]).returncode:
        raise RuntimeError("protoc refused the contract; its message is above")


def generate(out: Path) -> None:
    """Write the stubs under `out`.

    Args:
        out: Folder that gets `exemplar/v1/*_pb2.py`, `*_pb2_grpc.py` and a `.pyi` for each.

    Raises:
        RuntimeError: When protoc refuses the contract; it has printed why.
    """
    # protoc finds its plugins through these paths, so an environment that is not activated works too.
    plugin = Path(sys.executable).parent
    out.mkdir(parents=True, exist_ok=True)
    arguments = [
        f"--plugin=protoc-gen-mypy={plugin / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={plugin / 'protoc-gen-mypy_grpc'}",
        f"--python_out={out}",
        f"--grpc_python_out={out}",
        f"--mypy_out={out}",
        f"--mypy_grpc_out={out}",
        *sources(),
    ]
    protoc(arguments)
    for source in sources():
        # protoc writes service stubs for files without a service too; they would only be noise.
        if "service " not in (PROTO / source).read_text(encoding="utf-8"):
            stem = source.removesuffix(".proto")
            for suffix in ("_pb2_grpc.py", "_pb2_grpc.pyi"):
                (out / f"{stem}{suffix}").unlink(missing_ok=True)
    for folder in {(out / source).parent for source in sources()}:
        package = folder.relative_to(out).as_posix().replace("/", ".")
        text = f'"""Generated stubs of the contract `{package}`."""\n'
        (folder / "__init__.py").write_text(text, encoding="utf-8")


def main() -> None:
    """Parse `--out` and generate."""
    parser = argparse.ArgumentParser(description="Write the Python stubs of the contract.")
    parser.add_argument("--out", type=Path, default=STUBS, help="folder to write to (default: client/)")
    generate(parser.parse_args().out)


if __name__ == "__main__":
    main()
