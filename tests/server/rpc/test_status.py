"""Domain errors on the wire: every detail that applies, within what headers may hold."""

from __future__ import annotations

import re

import pytest
from google.rpc import error_details_pb2

from exemplar_server import errors
from exemplar_server.rpc.status import code_of, to_status


def details(error: errors.ServiceError) -> dict[str, object]:
    kinds = (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo)
    found: dict[str, object] = {}
    for detail in to_status(error).details:
        for kind in kinds:
            message = kind()
            if detail.Unpack(message):
                found[kind.DESCRIPTOR.name] = message
    return found


@pytest.mark.parametrize("kind", errors.ServiceError.__subclasses__())
def test_every_kind_of_error_has_a_code_and_keeps_its_reason(kind: type[errors.ServiceError]) -> None:
    error = kind("SOME_REASON", "what happened", {"a": "b"})
    words = re.findall("[A-Z][a-z]+", kind.__name__.removesuffix("Error"))
    assert code_of(error).name == "_".join(words).upper()
    info = details(error)["ErrorInfo"]
    assert isinstance(info, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain, dict(info.metadata)) == ("SOME_REASON", "exemplar", {"a": "b"})


def test_a_bad_field_is_named_as_google_clients_expect() -> None:
    request = details(errors.invalid_field("options.top_k", "too large"))["BadRequest"]
    assert isinstance(request, error_details_pb2.BadRequest)
    (violation,) = request.field_violations
    assert (violation.field, violation.description) == ("options.top_k", "options.top_k: too large")


def test_a_wait_is_told_to_the_millisecond() -> None:
    info = details(errors.UnavailableError("QUEUE_FULL", "full", retry_after=1.25))["RetryInfo"]
    assert isinstance(info, error_details_pb2.RetryInfo)
    assert info.retry_delay.ToMilliseconds() == 1250


def test_long_texts_are_cut_to_what_headers_hold_without_breaking_a_character() -> None:
    status = to_status(errors.DataLossError("DATA_CORRUPT", "ä𝄞" * 5000, {"classes": "é" * 5000}))
    assert len(status.SerializeToString()) < 3000
    assert status.message.endswith("…")
