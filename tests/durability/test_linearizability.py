"""What eight clients see of a few classes, while the server is killed and restarted, could have happened in order."""

from __future__ import annotations

import dataclasses
import math
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import pytest

from demo.server_process import ServerProcess
from exemplar import Client, ExemplarError
from tests.durability.linearizable import Operation, is_linearizable
from tests.durability.scale import SCALE
from tests.e2e.several_servers import free_port
from tests.e2e.stubs import png

CLIENTS = 8
CLASSES = ("a", "b", "c", "d")
PICTURES = [png(seed=seed) for seed in range(40)]
OPERATIONS = 45


# The checker


def write(value: int | None, called: float, returned: float = math.inf) -> Operation:
    return Operation(True, value, called, returned)


def read(value: int | None, called: float, returned: float) -> Operation:
    return Operation(False, value, called, returned)


@pytest.mark.parametrize(
    ("history", "possible"),
    [
        ([], True),
        ([write(1, 0, 1), read(1, 2, 3)], True),
        ([write(1, 0, 1), read(None, 2, 3)], False),  # lost
        ([write(1, 0, 1), write(2, 2, 3), read(1, 4, 5)], False),  # stale
        ([write(1, 0, 4), read(None, 1, 2), read(1, 3, 5)], True),
        ([write(1, 0, 4), read(1, 1, 2), read(None, 3, 5)], False),  # seen, then gone
        ([write(1, 0), read(None, 1, 2), read(1, 3, 4)], True),  # nobody knows when it happened
        ([write(1, 0), read(1, 1, 2), read(None, 3, 4)], False),
        ([write(1, 0, 1), write(2, 1.5, 5), write(3, 2, 4), read(2, 6, 7)], True),
        ([write(1, 0, 1), write(2, 1.5, 5), write(3, 2, 4), read(2, 6, 7), read(3, 8, 9)], False),
        ([read(7, 0, 1)], False),  # from nowhere
    ],
)
def test_the_checker_tells_what_could_have_happened(history: list[Operation], possible: bool) -> None:
    assert is_linearizable(history) == possible


# The server


class Clients:
    """Clients that write and read classes at random, and note what they saw; a class's value is its picture."""

    def __init__(self, server: ServerProcess, port: int) -> None:
        self.server = server
        self.address = f"127.0.0.1:{port}"
        self.histories: dict[str, list[Operation]] = {class_id: [] for class_id in CLASSES}
        self._noting = threading.Lock()
        self._names: dict[str, int] = {}

    def learn_names(self) -> None:
        """Learn by which SHA-256 the server knows each picture."""
        with Client(self.address) as client:
            client.create_gallery("g")
            for number, picture in enumerate(PICTURES):
                stored = client.enroll("g", "name", picture).image_class
                self._names[stored.exemplars[0].sha256] = number
            client.delete_class("g", "name")

    def run(self, seed: int, ended: threading.Event) -> None:
        rng = random.Random(seed)
        with Client(self.address, attempts=1, timeout=5) as client:
            for _ in range(OPERATIONS):
                class_id = rng.choice(CLASSES)
                operation = self._one(client, rng, class_id)
                if operation is not None:
                    with self._noting:
                        self.histories[class_id].append(operation)
                if operation is None or operation.returned == math.inf:
                    ended.wait(0.05)  # the server may be away
        ended.set()

    def _one(self, client: Client, rng: random.Random, class_id: str) -> Operation | None:
        kind = rng.choices(["enroll", "delete", "get", "list"], [4, 1, 4, 2])[0]
        number = rng.randrange(len(PICTURES))
        written = {"enroll": number, "delete": None}.get(kind)
        called = monotonic()
        try:
            if kind == "enroll":
                client.enroll("g", class_id, PICTURES[number])
            elif kind == "delete":
                client.delete_class("g", class_id, allow_missing=True)
            elif kind == "get":
                found = client.get_class("g", class_id)
                return read(self._names[found.exemplars[0].sha256], called, monotonic())
            else:
                there = {each.id: self._names[each.exemplars[0].sha256] for each in client.classes("g")}
                return read(there.get(class_id), called, monotonic())
        except ExemplarError as error:
            if kind == "get" and error.reason == "CLASS_NOT_FOUND":
                return read(None, called, monotonic())
            return write(written, called) if kind in ("enroll", "delete") else None
        return write(written, called, monotonic())


@pytest.fixture(scope="module")
def histories(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> list[list[Operation]]:
    """Let clients work while the server is killed again and again; return what was seen of each class."""
    port, found = free_port(), []
    for turn in range(SCALE):
        folder = tmp_path_factory.mktemp("linear")
        with ServerProcess(tiny_bundle, folder, "--address", f"127.0.0.1:{port}") as server:
            server.wait_until_serving()
            clients = Clients(server, port)
            clients.learn_names()
            ended = threading.Event()
            with ThreadPoolExecutor(CLIENTS) as pool:
                running = [pool.submit(clients.run, 100 * turn + number, ended) for number in range(CLIENTS)]
                for moment in (60, 160):
                    while sum(map(len, clients.histories.values())) < moment and not ended.is_set():
                        ended.wait(0.005)
                    server.kill()
                    server.restart()
                    server.wait_until_serving()
                for each in running:
                    each.result()
        found += list(clients.histories.values())
    return found


@pytest.mark.slow
@pytest.mark.process
def test_what_clients_saw_across_kills_is_linearizable(histories: list[list[Operation]]) -> None:
    assert sum(map(len, histories)) > 150 * SCALE
    assert any(each.returned == math.inf for history in histories for each in history)
    for history in histories:
        assert is_linearizable(history)
    print(f"{sum(map(len, histories)):,} operations, {2 * SCALE:,} kills: linearizable")


@pytest.mark.slow
@pytest.mark.process
def test_a_stale_read_and_a_lost_write_planted_in_what_they_saw_are_noticed(
    histories: list[list[Operation]],
) -> None:
    for history in histories[: len(CLASSES)]:
        end = max(each.returned for each in history if each.returned < math.inf) + 1
        assert is_linearizable([*history, write(1000, end, end + 1), read(1000, end + 2, end + 3)])
        lost = [*history, write(1000, end, end + 1), read(1001, end + 2, end + 3)]
        assert not is_linearizable(lost)
        reads = [number for number, each in enumerate(history) if not each.write]
        stale = list(history)
        stale[reads[-1]] = dataclasses.replace(stale[reads[-1]], value=-1)
        assert not is_linearizable(stale)
