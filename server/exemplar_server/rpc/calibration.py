"""Calibrations as messages, and as they come from a caller: nothing is taken on trust."""

from __future__ import annotations

import math
from collections.abc import Sequence

from exemplar.v1 import resources_pb2 as pb
from exemplar_encoder import Calibration, CalibrationError
from exemplar_server.errors import invalid_field

MAX_SIZES = 64
MAX_RATES = 256

# Distances, and what weighs them, are small numbers. No product of a few of these overflows.
LARGEST = 1e6

_SUMMARY_CLASSES = 20


def message(of: Calibration, tables: bool = True) -> pb.Calibration:
    """A calibration; without `tables` a fraction of its size, for lists."""
    rate = of.default_false_accept_rate
    spacing = of.spacing(_SUMMARY_CLASSES, None)
    return pb.Calibration(
        default_false_accept_rate=rate,
        threshold_at_20_classes=of.threshold(rate, _SUMMARY_CLASSES, spacing),
        ambiguity_margin=of.ambiguity_margin,
        class_count=of.class_count,
        ambiguity_error_rate=of.ambiguity_error_rate,
        gallery_sizes=of.gallery_sizes if tables else (),
        typical_spacings=of.typical_spacings if tables else (),
        false_accept_rates=of.false_accept_rates if tables else (),
        factors=[pb.CalibrationFactors(values=row) for row in of.factors] if tables else (),
        distance_weight=of.distance_weight,
        unknown_intercept=of.unknown_intercept,
        unknown_spacing=of.unknown_spacing,
        nearest_share=of.nearest_share,
        distance_power=of.distance_power,
        ambiguity_spacing=of.ambiguity_spacing,
    )


def parse(field: str, sent: pb.Calibration) -> Calibration:
    """A caller's calibration.

    Args:
        field: what the message is called in the request.
        sent: the message.

    Raises:
        InvalidArgumentError: a field of it, which is named, holds what no fit produces.
    """
    _check_size(f"{field}.gallery_sizes", len(sent.gallery_sizes), MAX_SIZES)
    _check_size(f"{field}.typical_spacings", len(sent.typical_spacings), MAX_SIZES)
    _check_size(f"{field}.false_accept_rates", len(sent.false_accept_rates), MAX_RATES)
    _check_size(f"{field}.factors", len(sent.factors), MAX_SIZES)
    for row in sent.factors:
        _check_size(f"{field}.factors", len(row.values), MAX_RATES)
        _check_numbers(f"{field}.factors", row.values)
    _check_numbers(f"{field}.typical_spacings", sent.typical_spacings)
    for name in ("ambiguity_margin", "ambiguity_spacing", "distance_weight", "unknown_intercept", "unknown_spacing"):
        _check_numbers(f"{field}.{name}", [getattr(sent, name)])
    if not 0 <= sent.ambiguity_error_rate <= 1:
        raise invalid_field(f"{field}.ambiguity_error_rate", f"it must be 0 to 1, not {sent.ambiguity_error_rate}")
    if sent.class_count < 1:
        raise invalid_field(f"{field}.class_count", f"it must be 1 or more, not {sent.class_count}")
    try:
        return Calibration(
            default_false_accept_rate=sent.default_false_accept_rate,
            ambiguity_margin=sent.ambiguity_margin,
            ambiguity_error_rate=sent.ambiguity_error_rate,
            class_count=sent.class_count,
            gallery_sizes=tuple(sent.gallery_sizes),
            typical_spacings=tuple(sent.typical_spacings),
            false_accept_rates=tuple(sent.false_accept_rates),
            factors=tuple(tuple(row.values) for row in sent.factors),
            distance_weight=sent.distance_weight,
            unknown_intercept=sent.unknown_intercept,
            unknown_spacing=sent.unknown_spacing,
            nearest_share=sent.nearest_share,
            distance_power=sent.distance_power,
            ambiguity_spacing=sent.ambiguity_spacing,
        )
    except CalibrationError as error:
        raise invalid_field(f"{field}.{error.field}", f"it {error.problem}") from error


def _check_size(field: str, count: int, most: int) -> None:
    if count > most:
        raise invalid_field(field, f"it holds {count:,} values; {most} are allowed")


def _check_numbers(field: str, values: Sequence[float]) -> None:
    if not all(math.isfinite(value) and abs(value) <= LARGEST for value in values):
        raise invalid_field(field, f"a number in it is not finite, or beyond {LARGEST:,.0f}")
