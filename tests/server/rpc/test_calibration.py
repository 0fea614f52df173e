"""Calibrations from callers: nothing is taken on trust, and what is taken answers with numbers."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exemplar.v1 import resources_pb2 as pb
from exemplar_encoder import Bundle, Calibration, DecisionRule
from exemplar_server.errors import InvalidArgumentError
from exemplar_server.rpc.calibration import LARGEST, MAX_BYTES, message, parse
from tests.calibrations import made_up

MODELS = Path(__file__).parents[3] / "models"


def with_field(name: str, value: object) -> bytes:
    fields: dict[str, Any] = json.loads(made_up().to_json())
    fields[name] = value
    return json.dumps(fields).encode()


def test_a_calibration_comes_back_as_it_was_sent_and_its_summary_can_be_read() -> None:
    fitted = made_up(1 / 3)
    sent = message(fitted)
    assert (sent.method, sent.fitted_on) == (fitted.method, fitted.fitted_on)
    assert sent.default_false_accept_rate == fitted.default_false_accept_rate
    assert sent.ambiguity_error_rate == fitted.ambiguity_error_rate
    assert parse("calibration", sent) == fitted
    assert message(parse("calibration", pb.Calibration(data=sent.data))) == sent


def test_the_summary_is_not_read_in_a_request() -> None:
    sent = message(made_up())
    sent.method, sent.fitted_on, sent.default_false_accept_rate, sent.ambiguity_error_rate = "magic", "air", 7.0, -1.0
    assert parse("calibration", sent) == made_up()


def test_in_a_list_it_comes_without_its_data() -> None:
    listed = message(made_up(), data=False)
    assert (listed.method, listed.data) == (made_up().method, b"")


@pytest.mark.parametrize("folder", sorted(MODELS.iterdir(), key=str))
def test_the_shipped_calibrations_may_be_sent(folder: Path) -> None:
    if (folder / "calibration.json").exists():
        assert parse("calibration", message(Bundle.load(folder).calibration)) == Bundle.load(folder).calibration


BAD: list[tuple[str, object]] = [
    ("method", "spacing/2"),
    ("method", None),
    ("unheard_of", 1),
    ("fitted_on", 7),
    ("default_false_accept_rate", 0.0),
    ("default_false_accept_rate", math.nan),
    ("ambiguity_margin", math.nan),
    ("ambiguity_margin", -0.1),
    ("ambiguity_margin", 1e300),
    ("ambiguity_spacing", -0.1),
    ("ambiguity_spacing", 1e300),
    ("ambiguity_error_rate", math.nan),
    ("ambiguity_error_rate", -0.5),
    ("gallery_sizes", []),
    ("gallery_sizes", [20, 1]),
    ("gallery_sizes", [0, 20]),
    ("gallery_sizes", [1, 10**40]),
    ("typical_spacings", [0.5]),
    ("typical_spacings", [0.5, math.inf]),
    ("typical_spacings", [0.5, -0.5]),
    ("false_accept_rates", [0.1, 0.01, 1.0]),
    ("false_accept_rates", [0.0, 0.1, 1.0]),
    ("false_accept_rates", [0.1, 0.2, 1.5]),
    ("false_accept_rates", [0.1, math.nan, 1.0]),
    ("factors", []),
    ("factors", [[0.1, 0.2]] * 2),
    ("factors", [[0.1, 0.2, 0.3], [0.1]]),
    ("factors", [[0.3, 0.2, 0.1]] * 2),
    ("factors", [[-0.1, 0.2, 0.3]] * 2),
    ("factors", [[0.1, math.nan, 0.3]] * 2),
    ("factors", [[0.1, 0.2, 1e7]] * 2),
    ("factors", [[0.5] * 1000] * 2),
    ("factors", [[]] * 10_000),
    ("distance_weight", -1.0),
    ("distance_weight", math.inf),
    ("unknown_intercept", math.nan),
    ("unknown_spacing", -1e9),
    ("nearest_share", 0.0),
    ("nearest_share", math.nan),
    ("nearest_share", 1.5),
    ("distance_power", 0),
    ("distance_power", 3),
]


@pytest.mark.parametrize(("name", "value"), BAD, ids=[f"{name}={str(value)[:20]}" for name, value in BAD])
def test_numbers_that_no_fit_produces_are_refused_naming_them(name: str, value: object) -> None:
    with pytest.raises(InvalidArgumentError, match=name) as refused:
        parse("gallery.calibration", pb.Calibration(data=with_field(name, value)))
    assert (refused.value.reason, dict(refused.value.metadata)) == (
        "FIELD_INVALID",
        {"field": "gallery.calibration.data"},
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"7",
        b"{",
        b"\xff\xfe",
        b"[" * 60_000,
        with_field("method", "spacing/1")[:-20],
        b"\0" * 100,
    ],
    ids=repr,
)
def test_what_is_no_calibration_at_all_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^gallery\.calibration\.data: no fit produces it"):
        parse("gallery.calibration", pb.Calibration(data=data))


def test_data_over_the_limit_is_refused_unread_stating_the_limit() -> None:
    padded = made_up().to_json().encode().ljust(MAX_BYTES)
    assert parse("calibration", pb.Calibration(data=padded)) == made_up()
    with pytest.raises(InvalidArgumentError, match="65,537 bytes; 65,536 is the most"):
        parse("calibration", pb.Calibration(data=padded + b" "))


def test_the_largest_numbers_that_are_taken_still_answer_with_numbers() -> None:
    largest = replace(made_up(LARGEST / 2), typical_spacings=(LARGEST, LARGEST))
    gaps = np.full(3, 0.5, np.float32)
    for weight, unknown in ((LARGEST, -LARGEST), (0.0, LARGEST)):
        sent = replace(largest, distance_weight=weight, unknown_intercept=unknown, unknown_spacing=unknown)
        taken: Calibration = parse("calibration", message(sent))
        rule = DecisionRule(taken, 3, gaps)
        decision = rule.decide([0.0, 1.0, 2.0])
        assert math.isfinite(rule.threshold)
        assert all(0 <= probability <= 1 for probability in decision.probabilities)
