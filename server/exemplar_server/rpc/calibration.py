"""Calibrations as messages, and as they come from a caller: nothing is taken on trust."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from exemplar.v1 import resources_pb2 as pb
from exemplar_encoder import Calibration, CalibrationError
from exemplar_server.errors import invalid_field

MAX_BYTES = 64 * 1024

# Distances, and what weighs them, are small numbers. No product of a few of these overflows.
LARGEST = 1e6
LARGEST_GALLERY = 1e12


def message(of: Calibration, data: bool = True) -> pb.Calibration:
    """Return a calibration; in a list without its `data`."""
    return pb.Calibration(
        method=of.method,
        fitted_on=of.fitted_on,
        default_false_accept_rate=of.default_false_accept_rate,
        ambiguity_error_rate=of.ambiguity_error_rate,
        data=of.to_json().encode() if data else b"",
    )


def parse(field: str, sent: pb.Calibration) -> Calibration:
    """Read a caller's calibration.

    Args:
        field: the name of the message in the request.
        sent: the message.

    Raises:
        InvalidArgumentError: its `data` is too long, cannot be read, or holds numbers that no fit produces.
    """
    where = f"{field}.data"
    if len(sent.data) > MAX_BYTES:
        raise invalid_field(where, f"it has {len(sent.data):,} bytes; {MAX_BYTES:,} is the most")
    try:
        found = Calibration.from_json(sent.data)
    except CalibrationError as error:
        raise invalid_field(where, f"no fit produces it: {error}") from error
    for name, value in _numbers(found):
        largest = LARGEST_GALLERY if name == "gallery_sizes" else LARGEST
        if abs(value) > largest:
            raise invalid_field(where, f"no fit produces it: {name} holds a number beyond {largest:,.0f}")
    return found


def _numbers(of: Calibration) -> Iterator[tuple[str, float]]:
    for field in dataclasses.fields(of):
        found = [getattr(of, field.name)]
        while found:
            value = found.pop()
            if isinstance(value, tuple):
                found += value
            elif isinstance(value, int | float):
                yield field.name, value
