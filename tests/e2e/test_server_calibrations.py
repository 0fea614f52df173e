"""A gallery's own calibration over a real socket: set, applied, shown, refused and cleared."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from demo.server_process import ServerProcess
from exemplar.v1 import classification_service_pb2 as classification
from exemplar.v1 import gallery_service_pb2 as galleries
from exemplar.v1 import model_service_pb2 as models
from exemplar.v1 import resources_pb2 as resources
from exemplar_server.rpc import calibration as messages
from tests.calibrations import made_up
from tests.e2e.stubs import Stubs, classify, png, refusal


def calibrate(
    stubs: Stubs, gallery: str, calibration: resources.Calibration | None, **fields: object
) -> resources.Gallery:
    changed = resources.Gallery(name=gallery, calibration=calibration, **fields)
    mask = FieldMask(paths=["calibration", *fields])
    request = galleries.UpdateGalleryRequest(gallery=changed, update_mask=mask)
    return stubs.galleries.UpdateGallery(request).gallery


def read(stubs: Stubs, gallery: str) -> resources.Gallery:
    return stubs.galleries.GetGallery(galleries.GetGalleryRequest(name=gallery)).gallery


@pytest.fixture
def taught(stubs: Stubs, gallery: str, drawings: dict[str, list[bytes]]) -> str:
    """A gallery with the first picture of twelve classes."""
    enrollments = [
        galleries.Enrollment(class_id=key, images=found[:1]) for key, found in sorted(drawings.items())[:12]
    ]
    stubs.galleries.BatchEnrollClasses(galleries.BatchEnrollClassesRequest(gallery=gallery, enrollments=enrollments))
    return gallery


def test_a_calibration_decides_from_the_next_query_on_until_it_is_cleared(
    stubs: Stubs, taught: str, drawings: dict[str, list[bytes]]
) -> None:
    query = sorted(drawings.items())[2][1][1]
    before = classify(stubs, taught, query)
    strict = messages.message(dataclasses.replace(made_up(0.0), ambiguity_margin=0.4, ambiguity_spacing=0.0))
    assert calibrate(stubs, taught, strict).calibration == strict
    after = classify(stubs, taught, query)
    assert (after.threshold, after.verdict) == (0.0, classification.VERDICT_UNKNOWN)
    assert after.ambiguity_margin == pytest.approx(0.4)
    assert after.matches[0].distance == before.matches[0].distance
    assert after.matches[0].probability != before.matches[0].probability
    batch = classification.BatchClassifyRequest(gallery=taught, queries=[resources.Query(image=query)])
    (entry,) = stubs.classification.BatchClassify(batch).results
    assert (entry.classification.threshold, entry.classification.probability) == (0.0, after.probability)
    assert not calibrate(stubs, taught, None).HasField("calibration")
    cleared = classify(stubs, taught, query)
    assert (cleared.threshold, cleared.probability) == (before.threshold, before.probability)


def test_what_is_too_close_is_judged_by_it_too(stubs: Stubs, taught: str, drawings: dict[str, list[bytes]]) -> None:
    new = sorted(drawings.items())[20][1][0]
    near = {galleries.ExemplarWarning.KIND_TOO_CLOSE, galleries.ExemplarWarning.KIND_DUPLICATE}
    found = {}
    for factor in (0.0, 1e3):
        calibrate(stubs, taught, messages.message(made_up(factor)))
        checked = stubs.galleries.CheckExemplar(galleries.CheckExemplarRequest(gallery=taught, image=new))
        diagnosed = stubs.galleries.DiagnoseGallery(galleries.DiagnoseGalleryRequest(name=taught))
        enrolled = stubs.galleries.EnrollClass(
            galleries.EnrollClassRequest(gallery=taught, enrollment={"class_id": "new", "images": [new]})
        )
        stubs.galleries.DeleteClass(galleries.DeleteClassRequest(name=f"{taught}/classes/new"))
        kinds = [{item.kind for item in answer.warnings} for answer in (checked, enrolled)]
        found[factor] = diagnosed.too_close_count, *(bool(each & near) for each in kinds)
    assert found == {0.0: (0, False, False), 1e3: (66, True, True)}


def test_its_own_rate_holds_where_nobody_names_one(stubs: Stubs, taught: str) -> None:
    own = messages.message(made_up())
    own.default_false_accept_rate = 0.125
    calibrate(stubs, taught, own)
    assert classify(stubs, taught, png()).false_accept_rate == 0.125
    calibrate(stubs, taught, own, false_accept_rate=0.25)
    assert classify(stubs, taught, png()).false_accept_rate == 0.25


def test_other_changes_leave_it_alone_and_a_list_leaves_its_tables_out(stubs: Stubs, gallery: str) -> None:
    sent = messages.message(made_up(1 / 3))
    sent.threshold_at_20_classes = 1234.5  # the server's to compute
    calibrate(stubs, gallery, sent)
    request = galleries.UpdateGalleryRequest(
        gallery={"name": gallery, "display_name": "G"}, update_mask=FieldMask(paths=["display_name"])
    )
    assert stubs.galleries.UpdateGallery(request).gallery.calibration == messages.message(made_up(1 / 3))
    listed = stubs.galleries.ListGalleries(galleries.ListGalleriesRequest(page_size=1000)).galleries
    (found,) = (each.calibration for each in listed if each.name == gallery)
    assert (found.class_count, list(found.factors), list(found.gallery_sizes)) == (42, [], [])
    assert found.threshold_at_20_classes == pytest.approx(0.7 / 3)


def test_a_new_gallery_takes_none(stubs: Stubs, gallery: str) -> None:
    created = stubs.galleries.CreateGallery(
        galleries.CreateGalleryRequest(
            gallery_id=gallery.removeprefix("galleries/") + "-new",
            gallery=resources.Gallery(calibration=messages.message(made_up())),
        )
    ).gallery
    assert not created.HasField("calibration")


def test_the_model_shows_the_whole_of_its_own(stubs: Stubs, gallery: str) -> None:
    (model,) = stubs.models.ListModels(models.ListModelsRequest()).models
    assert len(model.calibration.factors) == len(model.calibration.gallery_sizes) > 0
    assert calibrate(stubs, gallery, model.calibration).calibration == model.calibration


def rows(*values: float) -> list[resources.CalibrationFactors]:
    return [resources.CalibrationFactors(values=values)] * 2


BAD: list[tuple[str, object]] = [
    ("default_false_accept_rate", 0.0),
    ("default_false_accept_rate", math.nan),
    ("ambiguity_margin", math.nan),
    ("ambiguity_margin", -0.1),
    ("ambiguity_margin", 1e300),
    ("ambiguity_spacing", -0.1),
    ("ambiguity_spacing", 1e300),
    ("ambiguity_error_rate", math.nan),
    ("ambiguity_error_rate", -0.5),
    ("class_count", -1),
    ("gallery_sizes", []),
    ("gallery_sizes", [20, 1]),
    ("gallery_sizes", [0, 20]),
    ("gallery_sizes", [1] * 65),
    ("gallery_sizes", list(range(1, 1_000_000))),
    ("typical_spacings", [0.5]),
    ("typical_spacings", [0.5, math.inf]),
    ("typical_spacings", [0.5, -0.5]),
    ("typical_spacings", [0.5] * 100_000),
    ("false_accept_rates", [0.1, 0.01, 1.0]),
    ("false_accept_rates", [0.0, 0.1, 1.0]),
    ("false_accept_rates", [0.1, 0.2, 1.5]),
    ("false_accept_rates", [0.1, math.nan, 1.0]),
    ("false_accept_rates", [0.001 * number for number in range(1, 300)]),
    ("factors", []),
    ("factors", rows(0.1, 0.2)),
    ("factors", [*rows(0.1, 0.2, 0.3)[:1], resources.CalibrationFactors(values=[0.1])]),
    ("factors", rows(0.3, 0.2, 0.1)),
    ("factors", rows(-0.1, 0.2, 0.3)),
    ("factors", rows(0.1, math.nan, 0.3)),
    ("factors", rows(0.1, 0.2, 1e7)),
    ("factors", rows(*[0.5] * 1000)),
    ("factors", [resources.CalibrationFactors()] * 10_000),
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


def spoilt(field: str, value: object) -> resources.Calibration:
    sent = messages.message(made_up())
    sent.ClearField(field)
    if isinstance(value, list):
        getattr(sent, field).extend(value)
    else:
        setattr(sent, field, value)
    return sent


def test_numbers_that_no_fit_produces_are_refused_naming_the_field(stubs: Stubs, gallery: str) -> None:
    calibrate(stubs, gallery, messages.message(made_up()))
    before = read(stubs, gallery)
    for field, value in BAD:
        with pytest.raises(grpc.RpcError) as refused:
            calibrate(stubs, gallery, spoilt(field, value))
        expected = ("INVALID_ARGUMENT", "FIELD_INVALID", {"field": f"gallery.calibration.{field}"})
        assert refusal(refused.value) == expected, (field, str(value)[:60])
    with pytest.raises(grpc.RpcError) as refused:
        calibrate(stubs, gallery, resources.Calibration())
    assert refusal(refused.value)[0] == "INVALID_ARGUMENT"
    assert read(stubs, gallery) == before


def test_the_largest_numbers_that_are_taken_still_answer_with_numbers(stubs: Stubs, taught: str) -> None:
    largest = messages.message(made_up(messages.LARGEST / 2))
    largest.typical_spacings[:] = [messages.LARGEST] * 2
    for weight, unknown in ((messages.LARGEST, -messages.LARGEST), (0.0, messages.LARGEST)):
        largest.distance_weight, largest.unknown_intercept, largest.unknown_spacing = weight, unknown, unknown
        calibrate(stubs, taught, largest)
        answer = classify(stubs, taught, png())
        assert math.isfinite(answer.threshold)
        assert 0 <= answer.probability <= 1


def test_after_a_restart_it_decides_as_before_and_under_another_model_it_cannot_be_set(
    tiny_bundle: Path, other_bundle: Path, tmp_path: Path
) -> None:
    with ServerProcess(tiny_bundle, tmp_path) as server:
        stubs = Stubs(server.channel())
        name = stubs.galleries.CreateGallery(galleries.CreateGalleryRequest(gallery_id="g")).gallery.name
        enrollments = [galleries.Enrollment(class_id=f"c{seed}", images=[png(seed=seed)]) for seed in range(3)]
        stubs.galleries.BatchEnrollClasses(galleries.BatchEnrollClassesRequest(gallery=name, enrollments=enrollments))
        kept = calibrate(stubs, name, messages.message(made_up(1 / 3)))
        before = classify(stubs, name, png(seed=9))
        server.kill()
        server.wait()
    with ServerProcess(tiny_bundle, tmp_path) as server:
        stubs = Stubs(server.channel())
        assert read(stubs, name) == kept
        assert classify(stubs, name, png(seed=9)) == before
        server.stop()
    with ServerProcess(other_bundle, tmp_path) as server:
        stubs = Stubs(server.channel())
        calls: list[Callable[[], object]] = [
            lambda: calibrate(stubs, name, messages.message(made_up())),
            lambda: classify(stubs, name, png(seed=9)),
        ]
        for call in calls:
            with pytest.raises(grpc.RpcError) as refused:
                call()
            assert refusal(refused.value)[:2] == ("FAILED_PRECONDITION", "MODEL_MISMATCH")
        assert read(stubs, name) == kept
        assert not calibrate(stubs, name, None).HasField("calibration")
