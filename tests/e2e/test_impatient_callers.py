"""Many who enroll with little time: what is not acknowledged is, but for a group under way, not stored either."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest

from demo.server_process import ServerProcess
from exemplar.v1 import gallery_service_pb2 as pb
from exemplar.v1 import gallery_service_pb2_grpc as pb_grpc
from exemplar.v1 import resources_pb2
from tests.e2e.stubs import png

pytestmark = [pytest.mark.slow, pytest.mark.process]

CALLERS, SECONDS = 400, 0.8
GROUP = 64


async def enroll(address: str) -> int:
    """Have all enroll at once, each a class of its own, with a deadline; return how many were acknowledged."""
    image = resources_pb2.Image(content=png())

    async with grpc.aio.insecure_channel(address) as channel:
        stub = pb_grpc.GalleryServiceStub(channel)
        await stub.CreateGallery(pb.CreateGalleryRequest(gallery_id="g"))

        async def caller(number: int) -> bool:
            enrollment = pb.Enrollment(class_id=f"c{number}", images=[image])
            request = pb.EnrollClassRequest(gallery="galleries/g", enrollment=enrollment)
            try:
                await stub.EnrollClass(request, timeout=SECONDS)
            except grpc.aio.AioRpcError as error:
                endings.add(error.code())
                return False
            return True

        endings: set[grpc.StatusCode] = set()
        acknowledged = sum(await asyncio.gather(*(caller(number) for number in range(CALLERS))))
    assert endings <= {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE}
    return acknowledged


def test_changes_of_callers_who_gave_up_are_not_made_in_the_end(tiny_bundle: Path, tmp_path: Path) -> None:
    with ServerProcess(tiny_bundle, tmp_path) as server:
        acknowledged = asyncio.run(enroll(server.address))
        stub = pb_grpc.GalleryServiceStub(server.channel())
        # Acknowledged after all that was taken in before it.
        last = pb.Enrollment(class_id="last", images=[resources_pb2.Image(content=png())])
        stub.EnrollClass(pb.EnrollClassRequest(gallery="galleries/g", enrollment=last), timeout=60)
        stored = stub.GetGallery(pb.GetGalleryRequest(name="galleries/g")).gallery.class_count - 1
        commits, changes = (server.metric(f"exemplar_commit_{name}") for name in ("seconds_count", "changes_sum"))
    assert acknowledged <= stored <= acknowledged + 2 * GROUP
    assert changes >= stored
    assert commits < changes
