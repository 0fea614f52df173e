"""Changing calls that may be sent again: with one `request_id` they have one effect and one response.

The first response is kept by the store, as bytes, together with the change; here it is written down and read back.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

from google.protobuf.message import Message

from exemplar.v1 import gallery_service_pb2 as pb
from exemplar_server.errors import ServiceError, invalid_field
from exemplar_server.store import GalleryStore, RepeatedRequest, Request

ChangingMessage = (
    pb.CreateGalleryRequest
    | pb.UpdateGalleryRequest
    | pb.DeleteGalleryRequest
    | pb.EnrollClassRequest
    | pb.BatchEnrollClassesRequest
    | pb.UpdateClassRequest
    | pb.DeleteClassRequest
    | pb.AddExemplarsRequest
    | pb.RemoveExemplarRequest
)
Response = TypeVar("Response", bound=Message)
Effect = TypeVar("Effect")

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


async def answer_once(
    store: GalleryStore,
    message: ChangingMessage,
    response_type: type[Response],
    change: Callable[[Request[Effect] | None], Awaitable[Effect]],
    respond: Callable[[Effect], Response],
) -> Response:
    """Make a change and answer it; or, where the same request was answered before, answer as then.

    Args:
        store: where the change is made.
        message: the request as it came.
        response_type: of the call.
        change: makes the change in the store, for the request if there is one.
        respond: makes the response from the change's effect. An error that it raises undoes the change.

    Raises:
        InvalidArgumentError: the `request_id` is no UUID, or was another request's.
    """
    if not message.request_id:
        return respond(await change(None))
    request_id = message.request_id.lower()
    if not _UUID.fullmatch(request_id):
        raise invalid_field("request_id", f"it must be a UUID such as those of RFC 9562, not {request_id[:100]!r}")
    made: list[Response] = []

    def response(effect: Effect) -> bytes:
        made.append(respond(effect))
        return made[-1].SerializeToString()

    def look_up() -> tuple[Request[Effect], bytes | None]:
        digest = hashlib.sha256(message.SerializeToString(deterministic=True)).digest()
        method = message.DESCRIPTOR.name.removesuffix("Request")
        asked = Request(request_id, method, digest, response)
        return asked, store.response_to(asked)

    request, kept = await asyncio.to_thread(look_up)
    if kept is None:
        try:
            await change(request)
            return made[-1]
        except RepeatedRequest as repeated:  # another call with the same id was quicker
            kept = repeated.response
        except ServiceError:
            # It may be refused for what that other call, or one after it, has changed.
            _, kept = await asyncio.to_thread(look_up)
            if kept is None:
                raise
    return response_type.FromString(kept)
