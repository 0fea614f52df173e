"""Domain errors as `google.rpc.Status`, whole or as one call's end."""

from __future__ import annotations

from typing import Any, NoReturn

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2

from exemplar_server import errors

DOMAIN = "exemplar"

# A status travels in HTTP/2 headers, which peers accept up to 8 KiB; text is cut well before that.
_LONGEST_MESSAGE = 700
_LONGEST_VALUE = 400

_CODES: dict[type[errors.ServiceError], grpc.StatusCode] = {
    errors.InvalidArgumentError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExistsError: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPreconditionError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.AbortedError: grpc.StatusCode.ABORTED,
    errors.ResourceExhaustedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.UnavailableError: grpc.StatusCode.UNAVAILABLE,
    errors.DataLossError: grpc.StatusCode.DATA_LOSS,
    errors.UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDeniedError: grpc.StatusCode.PERMISSION_DENIED,
    errors.InternalError: grpc.StatusCode.INTERNAL,
}


def code_of(error: errors.ServiceError) -> grpc.StatusCode:
    """Return the gRPC code for a kind of error."""
    return _CODES[type(error)]


def to_status(error: errors.ServiceError) -> status_pb2.Status:
    """Return the error whole: ErrorInfo, and BadRequest or RetryInfo where they apply."""
    code: int = code_of(error).value[0]
    status = status_pb2.Status(code=code, message=_cut(error.message, _LONGEST_MESSAGE))
    metadata = {key: _cut(value, _LONGEST_VALUE) for key, value in error.metadata.items()}
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata))
    if code == code_pb2.INVALID_ARGUMENT and "field" in error.metadata:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=error.metadata["field"], description=status.message, reason=error.reason
        )
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.retry_after is not None:
        delay = Duration()
        delay.FromMilliseconds(round(error.retry_after * 1000))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return status


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: errors.ServiceError) -> NoReturn:
    """End a call with an error."""
    status = to_status(error)
    trailing: list[tuple[str, str | bytes]] = [("grpc-status-details-bin", status.SerializeToString())]
    if error.retry_after is not None:
        # gRPC's own retries wait for this; RetryInfo is for people and for clients that retry by themselves.
        trailing.append(("grpc-retry-pushback-ms", str(round(error.retry_after * 1000))))
    await context.abort(code_of(error), status.message, tuple(trailing))


def _cut(text: str, longest: int) -> str:
    content = text.encode("utf-8")
    if len(content) <= longest:
        return text
    return content[: longest - 3].decode("utf-8", "ignore") + "…"
