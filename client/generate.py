"""Writes the synchronous client, `exemplar.sync`, from the asyncio one, `exemplar.aio`.

Only the latter is written by hand. `make proto` calls this without arguments; the staleness test calls it with
`--out` and compares.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import unasync

CLIENT = Path(__file__).resolve().parent
SOURCE = CLIENT / "exemplar/aio"
TARGET = CLIENT / "exemplar/sync"

# unasync drops `async` and `await` and knows the protocols' names; these are the client's own.
NAMES = {"AsyncClient": "Client", "AsyncConnection": "Connection"}

# The few words that differ by more than a name: (asyncio's, as a pattern; the synchronous client's).
PHRASES = [
    (r"asyncio\.to_thread\(([\w.]+), ", r"\1("),
    (r"asyncio\.ensure_future\(([\w.]+)\((.*?)\)\)\n", r"\1.future(\2)\n"),
    (r"\basyncio\.(Future|wait|CancelledError)\b", r"concurrent.futures.\1"),
    (r"asyncio\.get_running_loop\(\)", "None"),
    (r"\bimport asyncio\n", "import asyncio\nimport concurrent.futures\n"),
    (r"\bgrpc\.aio\.", "grpc."),
    (r"import grpc\.aio\n", ""),
    (r"\bexemplar\.aio\b", "exemplar.sync"),
    (r"`async with AsyncClient\(\) as client`", "`with Client() as client`"),
    (r"`AsyncClient`: every request of the service, to be awaited\.", "`Client`: every request of the service."),
    (r"May be made anywhere.*?stays free\.", "Thread-safe: one client serves a whole program."),
    (r'"""The asyncio client\..*?"""', '"""The synchronous client."""'),
]


def generate(out: Path) -> None:
    """Write the package `exemplar.sync` to the folder `out`, which is replaced."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "aio", Path(folder) / "sync"
        shutil.copytree(SOURCE, source, ignore=shutil.ignore_patterns("__pycache__"))
        modules = sorted(source.glob("*.py"))
        unasync.unasync_files([str(path) for path in modules], [unasync.Rule("/aio/", "/sync/", NAMES)])
        for path in target.iterdir():
            text = path.read_text(encoding="utf-8")
            for pattern, replacement in PHRASES:
                text = re.sub(pattern, replacement, text, flags=re.DOTALL)
            note = f"# Generated from exemplar/aio/{path.name} by `make proto`: change that, not this.\n"
            path.write_text(note + text, encoding="utf-8")
        ruff = [sys.executable, "-m", "ruff"]
        config = ["--quiet", "--config", str(CLIENT.parent / "pyproject.toml")]
        # The package is not where it will be, so that ruff could not tell that it is ours.
        ours = ["--config", 'lint.isort.known-first-party = ["exemplar"]']
        subprocess.run([*ruff, "check", "--fix", "--select", "F401,I", *config, *ours, str(target)], check=True)
        subprocess.run([*ruff, "format", *config, str(target)], check=True)
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(target, out, ignore=shutil.ignore_patterns(".ruff_cache"))


def main() -> None:
    """Parse `--out` and generate."""
    parser = argparse.ArgumentParser(description="Write the synchronous client from the asyncio one.")
    parser.add_argument("--out", type=Path, default=TARGET, help="folder to write to (default: client/exemplar/sync)")
    generate(parser.parse_args().out)


if __name__ == "__main__":
    main()
