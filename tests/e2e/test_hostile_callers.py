"""Callers that send too much, too often, or not at all as they should cannot take the server from others."""

from __future__ import annotations

import asyncio
import signal
import socket
import struct
import subprocess
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import grpc
import psutil
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from demo.server_process import EXEMPLAR, ServerProcess, clean_environment
from exemplar import Client, Enrollment
from exemplar.v1 import classification_service_pb2 as pb
from exemplar.v1 import gallery_service_pb2 as gallery_pb
from exemplar.v1 import gallery_service_pb2_grpc as gallery_grpc
from exemplar.v1 import resources_pb2
from tests.e2e.stubs import png

pytestmark = [pytest.mark.slow, pytest.mark.process]

CLASSIFY = "/exemplar.v1.ClassificationService/Classify"
BATCH_CLASSIFY = "/exemplar.v1.ClassificationService/BatchClassify"
MIB = 1024 * 1024


def own_channel(address: str) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(
        address,
        [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1),
        ],
    )


def classify(content: bytes) -> bytes:
    query = resources_pb2.Query(image=resources_pb2.Image(content=content))
    return pb.ClassifyRequest(gallery="galleries/g", query=query).SerializeToString()


async def endings(address: str, message: bytes, callers: int, channels: int, method: str = CLASSIFY) -> Counter[str]:
    """Have many call at once; return how their calls ended, with a + where they were told when to come back."""
    counted: Counter[str] = Counter()
    opened = [own_channel(address) for _ in range(channels)]

    async def caller(number: int) -> None:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = opened[number % channels].unary_unary(method)
        try:
            await call(message, timeout=50)
        except grpc.aio.AioRpcError as error:
            told = any(key == "grpc-retry-pushback-ms" for key, _ in error.trailing_metadata() or ())
            counted[error.code().name + "+" * told] += 1
        else:
            counted["OK"] += 1

    await asyncio.gather(*(caller(number) for number in range(callers)))
    for channel in opened:
        await channel.close()
    return counted


class Resident:
    """The most memory that a process held while the block ran, beyond what it began with, in MiB."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._done = threading.Event()

    def __enter__(self) -> Resident:
        self._before = self._most = self._process.memory_info().rss
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watcher.join()
        self.more = (self._most - self._before) / MIB

    def _watch(self) -> None:
        while not self._done.wait(0.01):
            self._most = max(self._most, self._process.memory_info().rss)


def test_what_a_caller_without_the_token_sends_is_not_taken_in(tiny_bundle: Path, tmp_path: Path) -> None:
    with ServerProcess(tiny_bundle, tmp_path, env={"EXEMPLAR_TOKEN": "sesame"}) as server:
        address = server.address
        with Resident(server.pid) as resident:
            ended = asyncio.run(endings(address, bytes(20 * MIB), callers=24, channels=24))
    assert ended == {"UNAUTHENTICATED": 24}
    assert resident.more < 100


def test_large_messages_all_at_once_are_answered_or_told_when_to_come_back(tiny_bundle: Path, tmp_path: Path) -> None:
    with ServerProcess(tiny_bundle, tmp_path) as server:
        create(server)
        address = server.address
        with Resident(server.pid) as resident:
            ended = asyncio.run(endings(address, classify(bytes(31 * MIB)), callers=30, channels=30))
    assert sum(ended.values()) == 30
    assert ended["INVALID_ARGUMENT"] > 0  # an image of 31 MiB is one too large
    assert set(ended) <= {"INVALID_ARGUMENT", "UNAVAILABLE+"}
    assert resident.more < 800  # about 400, and all of them together are 1,900


def test_large_answers_that_nobody_reads_do_not_fill_the_memory(tiny_bundle: Path, tmp_path: Path) -> None:
    calls = 32
    with ServerProcess(tiny_bundle, tmp_path) as server:
        create(server)
        message = asks_for_31_mib(server)
        host, _, port = server.address.rpartition(":")
        with Resident(server.pid) as resident, ExitStack() as stack:
            for _ in range(calls):
                stack.enter_context(unread_call(host, int(port), BATCH_CLASSIFY, message))
            while answered(server, "BatchClassify") < calls - 3:  # there is room for three that are not read
                time.sleep(0.05)
        # The connections are closed now, and their room is free.
        assert asyncio.run(endings(server.address, message, 1, 1, BATCH_CLASSIFY)) == {"OK": 1}
    assert resident.more < 440


def test_more_calls_than_grpc_lets_wait_are_answered_or_told_when_to_come_back(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    with ServerProcess(tiny_bundle, tmp_path) as server:
        create(server)
        ended = asyncio.run(endings(server.address, classify(png(seed=1)), callers=2500, channels=25))
    assert ended["OK"] > 0
    assert set(ended) <= {"OK", "UNAVAILABLE+"}


def test_a_log_that_nobody_reads_stops_neither_answers_nor_the_end(tiny_bundle: Path, tmp_path: Path) -> None:
    command: list[str | Path] = [
        EXEMPLAR,
        "serve",
        "--bundle",
        tiny_bundle,
        "--data-dir",
        tmp_path,
        "--log-format",
        "json",
    ]
    process = subprocess.Popen(
        [*command, "--address", "127.0.0.1:0", "--metrics-address", "off"],
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    )
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if '"event": "serving"' in line)
        address = line.partition('"address": "')[2].partition('"')[0]
        with grpc.insecure_channel(address) as channel:
            stub = gallery_grpc.GalleryServiceStub(channel)
            for _ in range(1000):  # some 300 bytes of log each, and a pipe holds 64 KiB
                with pytest.raises(grpc.RpcError) as refused:
                    stub.GetGallery(gallery_pb.GetGalleryRequest(name="galleries/none"), timeout=30)
                assert refused.value.code() is grpc.StatusCode.NOT_FOUND
            assert serving(channel)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()


def test_thousands_of_streams_that_are_reset_at_once_leave_health_answering(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    with ServerProcess(tiny_bundle, tmp_path) as server:
        host, _, port = server.address.rpartition(":")
        ended = threading.Event()
        attacker = threading.Thread(target=reset_streams, args=(host, int(port), ended))
        attacker.start()
        try:
            with grpc.insecure_channel(server.address) as channel:
                assert all(serving(channel) for _ in range(20))
        finally:
            ended.set()
            attacker.join()


def test_bytes_that_are_no_message_of_the_method_are_an_invalid_argument(tiny_bundle: Path, tmp_path: Path) -> None:
    with ServerProcess(tiny_bundle, tmp_path) as server:
        assert asyncio.run(endings(server.address, b"\xff" * 9, callers=1, channels=1)) == {"INVALID_ARGUMENT": 1}


def create(server: ServerProcess) -> None:
    with grpc.insecure_channel(server.address) as channel:
        stub = gallery_grpc.GalleryServiceStub(channel)
        stub.CreateGallery(gallery_pb.CreateGalleryRequest(gallery_id="g"))
        enrollment = gallery_pb.Enrollment(class_id="c", images=[resources_pb2.Image(content=png())])
        stub.EnrollClass(gallery_pb.EnrollClassRequest(gallery="galleries/g", enrollment=enrollment))


def answered(server: ServerProcess, method: str) -> int:
    """Return how many calls have been answered, one way or another."""
    lines = server.metrics().splitlines()
    of_method = [line for line in lines if line.startswith("exemplar_requests_total{") and f'"{method}"' in line]
    return sum(int(float(line.rpartition(" ")[2])) for line in of_method)


def asks_for_31_mib(server: ServerProcess) -> bytes:
    """Enroll classes with all the attributes that are allowed; return a request that asks for them over and over."""
    with Client(server.address) as client:
        attributes = {f"note {number}": "x" * 500 for number in range(10)}
        client.enroll_many("g", [Enrollment(f"c{n}", png(seed=n), attributes=attributes) for n in range(64)])
        embedded = client.embed(png(seed=0))
    query = resources_pb2.Query(embedding=resources_pb2.Embedding(values=embedded.values))
    options = pb.ClassificationOptions(top_k=64)
    return pb.BatchClassifyRequest(gallery="galleries/g", queries=[query] * 90, options=options).SerializeToString()


def serving(channel: grpc.Channel) -> bool:
    answer: Message = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
    return bool(answer == health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING))


def unread_call(host: str, port: int, method: str, message: bytes) -> socket.socket:
    """Make a call whose answer is never read."""
    connection = socket.create_connection((host, port))
    content = b"\0" + struct.pack(">I", len(message)) + message
    frames = [_frame(0, 0, 1, content[at : at + 16384]) for at in range(0, len(content), 16384)]
    connection.sendall(_PREFACE + _frame(1, 4, 1, _headers(method)) + b"".join(frames) + _frame(0, 1, 1))
    return connection


def reset_streams(host: str, port: int, ended: threading.Event) -> None:
    """Open streams and reset them, a hundred at a time, as fast as the other side takes it."""
    headers = _headers(CLASSIFY)
    with socket.create_connection((host, port)) as connection:
        connection.sendall(_PREFACE)
        threading.Thread(target=_acknowledge, args=(connection,), daemon=True).start()
        stream = 1
        while not ended.is_set():
            streams = range(stream, stream + 200, 2)
            stream = streams.stop
            try:
                connection.sendall(
                    b"".join(
                        _frame(1, 4, each, headers) + _frame(3, 0, each, struct.pack(">I", 8)) for each in streams
                    )
                )
            except OSError:  # the server closed it, as it may
                return
            time.sleep(0.005)  # 20,000 a second


def _acknowledge(connection: socket.socket) -> None:
    """Answer pings, as a peer that wants to go on must."""
    received = b""
    while True:
        try:
            got = connection.recv(65536)
        except OSError:
            return
        if not got:
            return
        received += got
        while len(received) >= 9 and len(received) >= 9 + (length := int.from_bytes(received[:3], "big")):
            kind, flags, payload = received[3], received[4], received[9 : 9 + length]
            received = received[9 + length :]
            if kind == 6 and not flags & 1:
                try:
                    connection.sendall(_frame(6, 1, 0, payload))
                except OSError:
                    return


def _headers(method: str) -> bytes:
    fields = {":method": "POST", ":scheme": "http", ":path": method, ":authority": "x", "te": "trailers"}
    fields["content-type"] = "application/grpc"
    return b"".join(b"\0" + _string(name) + _string(value) for name, value in fields.items())


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _string(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()  # all of them are shorter than 127


_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0) + _frame(4, 1, 0)
