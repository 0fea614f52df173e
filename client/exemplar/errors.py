"""The errors of requests, as exceptions that keep the server's reason.

Catch `ExemplarError` for all of them, or a subclass for one status code. The same errors stand, not raised, in the
place of an item of a batch that failed. `reason` is stable and meant for programs
(`GALLERY_NOT_FOUND`); `message` is a sentence for people.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from exemplar.channel import proxy

_DETAILS_KEY = "grpc-status-details-bin"


class ExemplarError(Exception):
    """A request that failed, or an item of a batch.

    Attributes:
        code: gRPC status code, such as `NOT_FOUND`.
        reason: The server's reason, such as `CLASS_NOT_FOUND`; empty when it gave none.
        message: A sentence for people.
        metadata: The server's facts about the reason, such as the field's name.
        retry_after: Seconds after which the server suggests to try again; None when it suggests nothing.
    """

    code = "UNKNOWN"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after


class InvalidArgumentError(ExemplarError):
    """An image or a field that the server cannot accept."""

    code = "INVALID_ARGUMENT"


class NotFoundError(ExemplarError):
    """No such gallery, class, exemplar or model."""

    code = "NOT_FOUND"


class AlreadyExistsError(ExemplarError):
    """A gallery of that id exists."""

    code = "ALREADY_EXISTS"


class FailedPreconditionError(ExemplarError):
    """The request does not fit the state of the server.

    It may be another model, an empty gallery, an exemplar refused by `strict`, or a class that has as many exemplars
    as its gallery allows, or no other than the one to be removed.
    """

    code = "FAILED_PRECONDITION"


class AbortedError(ExemplarError):
    """Another change came between: what is to be updated no longer has the etag that was given."""

    code = "ABORTED"


class ResourceExhaustedError(ExemplarError):
    """A limit was met: of a message, of a batch, of the disk."""

    code = "RESOURCE_EXHAUSTED"


class UnavailableError(ExemplarError):
    """The server cannot answer now, or is not there: reason `UNREACHABLE` when nothing answered at the address."""

    code = "UNAVAILABLE"


class DataLossError(ExemplarError):
    """The server found its stored data damaged."""

    code = "DATA_LOSS"


class DeadlineExceededError(ExemplarError):
    """No answer within the client's timeout; the request may have been carried out."""

    code = "DEADLINE_EXCEEDED"


class UnauthenticatedError(ExemplarError):
    """The token is missing or wrong."""

    code = "UNAUTHENTICATED"


class UnimplementedError(ExemplarError):
    """The server does not know this request; it may be older than the client, or no Exemplar server."""

    code = "UNIMPLEMENTED"


_BY_CODE = {error.code: error for error in ExemplarError.__subclasses__()}


def item_error(status: status_pb2.Status) -> ExemplarError:
    """Read the status that a batch gives in an item's place; the error is there to be looked at, or raised."""
    return _error(_code_name(status.code), status.message, *_details(status.details))


def too_large(size: int, limit: int) -> ExemplarError:
    """Build the error of an item that no message can hold; sizes in bytes."""
    return ResourceExhaustedError(
        f"{size:,} bytes are more than a message may hold ({limit:,})", reason="MESSAGE_TOO_LARGE"
    )


def deadline_exceeded(address: str, timeout: float) -> ExemplarError:
    """Build the error of a call that was not answered within its deadline in seconds."""
    return DeadlineExceededError(f"the server at {address} did not answer within {timeout:g} s")


def request_error(error: grpc.RpcError, address: str, timeout: float) -> ExemplarError:
    """Turn gRPC's error into ours.

    Args:
        error: As raised by a synchronous or asyncio call.
        address: Where the server was looked for.
        timeout: The call's deadline in seconds.
    """
    code = error.code().name
    message = error.details() or "the server gave no message"
    reason, metadata, retry_after = _details([])
    trailing: Any = error.trailing_metadata() or ()
    for key, value in trailing:
        if key == _DETAILS_KEY:
            reason, metadata, retry_after = _details(status_pb2.Status.FromString(value).details)
    if code == "UNAVAILABLE" and not reason:
        # gRPC tells the whole chain of attempts; its last link is the cause, and the rest stays in `__cause__`.
        handshake = "handshake failed" in message
        cause = "the TLS handshake failed" if handshake else message.rpartition(": ")[2].rstrip("].")
        reason, message = "UNREACHABLE", f"no server answers at {address} ({cause})"
        if variable := proxy(address):
            message += (
                f"; calls go through the proxy that {variable} names: where the server can be reached without it, "
                "name its host in no_proxy"
            )
    elif code == "DEADLINE_EXCEEDED" and not reason:
        return deadline_exceeded(address, timeout)
    elif code == "UNIMPLEMENTED" and not reason:
        message = f"the server at {address} does not know this request ({message})"
    elif code == "RESOURCE_EXHAUSTED" and "larger than max" in message:
        # gRPC's own check, on either side; it comes without a reason.
        reason, message = "MESSAGE_TOO_LARGE", f"the message is too large to be sent ({message})"
    return _error(code, message, reason, metadata, retry_after)


def _error(
    code: str, message: str, reason: str, metadata: Mapping[str, str], retry_after: float | None
) -> ExemplarError:
    kind = _BY_CODE.get(code, ExemplarError)
    return kind(message, code=code, reason=reason, metadata=metadata, retry_after=retry_after)


def _code_name(number: int) -> str:
    # A code of a later version of the standard is no reason to fail while reporting a failure.
    return code_pb2.Code.Name(number) if number in code_pb2.Code.values() else "UNKNOWN"


def _details(details: Iterable[any_pb2.Any]) -> tuple[str, dict[str, str], float | None]:
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    for detail in details:
        _ = detail.Unpack(info) or detail.Unpack(retry)
    delay = retry.retry_delay.ToTimedelta().total_seconds() if retry.HasField("retry_delay") else None
    return info.reason, dict(info.metadata), delay
