"""Shards made by Ray's workers, with one of them killed and with the whole job killed: the same as without Ray."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from demo.server_process import EXEMPLAR, clean_environment
from demo.strokes import draw_alphabets
from exemplar_indexer.embedding_job import EmbeddingJob, run_embedding_job
from exemplar_indexer.local_engine import embed_here
from tests.indexer.held_up import HeldUp, held_up, wait_until
from tests.indexer.test_embedding_job import picture

pytestmark = [pytest.mark.process, pytest.mark.slow]

SHARD_SIZE = 4
SHARDS = 8


@pytest.fixture(scope="module")
def served() -> Iterator[HeldUp]:
    """Return the last of the pictures, which is on a web server."""
    with held_up(picture(0)) as last:
        last.release()
        yield last


@pytest.fixture(scope="module")
def source(served: HeldUp, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a manifest of 31 drawn pictures and one on a web server."""
    folder = tmp_path_factory.mktemp("source")
    draw_alphabets(folder / "pictures", alphabets=4, characters=8, drawers=1)
    pictures = sorted((folder / "pictures").rglob("*.png"))
    rows = [f"{path.stem},{path.relative_to(folder)}\n" for path in pictures[:-1]]
    rows.append(f"last,{served.url}\n")
    (folder / "list.csv").write_text("id,image\n" + "".join(rows))
    return folder / "list.csv"


@pytest.fixture(scope="module")
def without_ray(source: Path, tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the shards that the plain command makes of it."""
    shards = tmp_path_factory.mktemp("local")
    job = EmbeddingJob(str(source), str(shards), str(tiny_bundle), SHARD_SIZE)
    assert run_embedding_job(job, embed_here, lambda counts: None, lambda finished: None).done == 4 * SHARDS
    return contents(shards)


@pytest.fixture
def last(without_ray: dict[str, bytes], served: HeldUp) -> Iterator[HeldUp]:
    """Return the last of the pictures, held up."""
    served.hold()
    yield served
    served.release()


def contents(shards: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in shards.glob("shard-*.parquet")}


@contextmanager
def started(source: Path, shards: Path, bundle: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a job; whatever happens in the block, it is over with it."""
    command = [EXEMPLAR, "index", str(source), "--shards", str(shards), "--bundle", str(bundle)]
    command += ["--shard-size", str(SHARD_SIZE), "--engine", "ray", "--json"]
    with subprocess.Popen(
        command, env=clean_environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as job:
        try:
            yield job
        finally:
            its_own = processes_below(job.pid)
            job.kill()
            end(its_own)


def end(processes: Iterable[int]) -> None:
    """Kill what is left of some processes: Ray's follow the one that started them, but in their own time."""
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def finished(shards: Path) -> list[Path]:
    """Return the files of the shards whose receipt is there."""
    return [path.with_suffix(".parquet") for path in shards.glob("shard-*.json")]


def processes_below(root: int) -> set[int]:
    """Return the processes that one started, and those that they started."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it may have ended meanwhile
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    below = {root}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return below - {root}


def owner(port: int, job: subprocess.Popen[str]) -> int:
    """Return the process of a job that has a port."""
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    (inode,) = (row[9] for row in rows if int(row[1].rpartition(":")[2], 16) == port)
    (pid,) = (pid for pid in processes_below(job.pid) if has_open(pid, f"socket:[{inode}]"))
    return pid


def has_open(pid: int, file: str) -> bool:
    try:
        return any(str(each.readlink()) == file for each in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def test_a_worker_that_is_killed_is_replaced_and_the_shards_are_those_made_without_ray(
    source: Path, without_ray: dict[str, bytes], last: HeldUp, tiny_bundle: Path, tmp_path: Path
) -> None:
    shards = tmp_path / "shards"
    with started(source, shards, tiny_bundle) as job:
        wait_until(lambda: len(finished(shards)) == SHARDS - 1, job)
        last.wait_for_reader(job)
        os.kill(owner(last.ports[0], job), signal.SIGKILL)
        last.wait_for_reader(job, 2)  # the next one has come to it
        last.release()
        out, errors = job.communicate()
    assert job.returncode == 0, errors
    assert json.loads(out)["complete"]
    assert contents(shards) == without_ray


def test_a_job_that_is_killed_goes_on_and_makes_no_finished_shard_anew(
    source: Path, without_ray: dict[str, bytes], last: HeldUp, tiny_bundle: Path, tmp_path: Path
) -> None:
    shards = tmp_path / "shards"
    with started(source, shards, tiny_bundle) as job:
        wait_until(lambda: len(finished(shards)) >= SHARDS // 2, job)
    assert job.returncode == -signal.SIGKILL
    last.release()
    before = {path: path.stat() for path in finished(shards)}
    assert SHARDS // 2 <= len(before) < SHARDS
    with started(source, shards, tiny_bundle) as again:
        out, errors = again.communicate()
    assert again.returncode == 0, errors
    summary = json.loads(out)
    assert (summary["done"], summary["shards_before"]) == (4 * SHARDS, len(before))
    for path, facts in before.items():
        assert (path.stat().st_ino, path.stat().st_mtime_ns) == (facts.st_ino, facts.st_mtime_ns)
    assert contents(shards) == without_ray
    assert not list(shards.glob(".*"))
