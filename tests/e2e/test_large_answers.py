"""A batch whose answers fit no message is answered all the same: each entry in its place, whole or told why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.server_process import ServerProcess
from exemplar import Classification, Client, Enrollment
from exemplar.v1 import classification_service_pb2 as pb
from exemplar.v1 import classification_service_pb2_grpc as pb_grpc
from exemplar.v1 import resources_pb2
from tests.e2e.stubs import png

pytestmark = [pytest.mark.slow, pytest.mark.process]

QUERIES = 64


def test_all_answers_come_however_large_they_are_together(tiny_bundle: Path, tmp_path: Path) -> None:
    attributes = {f"note {number}": "x" * 400 for number in range(10)}
    with (
        ServerProcess(tiny_bundle, tmp_path, "--max-message-bytes", str(1024 * 1024)) as server,
        Client(server.address) as client,
    ):
        client.create_gallery("g")
        client.enroll_many("g", [Enrollment(f"c{n}", png(seed=n), attributes=attributes) for n in range(20)])
        query = client.embed(png(seed=3))
        answers = client.classify_many("g", [query] * QUERIES, top_k=20)
        given = resources_pb2.Query(embedding=resources_pb2.Embedding(values=query.values))
        options = pb.ClassificationOptions(top_k=20)
        request = pb.BatchClassifyRequest(gallery="galleries/g", queries=[given] * QUERIES, options=options)
        entries = pb_grpc.ClassificationServiceStub(server.channel()).BatchClassify(request).results
    assert len(answers) == QUERIES
    for answer in answers:
        assert isinstance(answer, Classification)
        assert len(answer.matches) == 20
        assert dict(answer.matches[0].attributes) == attributes
    whole = [entry for entry in entries if not entry.HasField("error")]
    refused = [entry.error for entry in entries if entry.HasField("error")]
    assert 5 < len(whole) < QUERIES
    assert all("larger than" in error.message for error in refused)
    assert len(whole) + len(refused) == QUERIES
