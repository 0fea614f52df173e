"""A gallery's own calibration over a real socket: set, applied, shown, refused and cleared."""

from __future__ import annotations

import dataclasses

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from exemplar.v1 import classification_service_pb2 as classification
from exemplar.v1 import gallery_service_pb2 as galleries
from exemplar.v1 import model_service_pb2 as models
from exemplar.v1 import resources_pb2 as resources
from exemplar_encoder import Calibration
from tests.calibrations import made_up
from tests.e2e.stubs import Stubs, classify, image, png, refusal


def calibrate(stubs: Stubs, gallery: str, calibration: Calibration | None, rate: float | None = None) -> None:
    """Set a gallery's calibration and false-accept rate, or clear what is None, and see that they were taken."""
    changed = resources.Gallery(name=gallery, false_accept_rate=rate)
    if calibration is not None:
        changed.calibration.data = calibration.to_json().encode()
    request = galleries.UpdateGalleryRequest(
        gallery=changed, update_mask=FieldMask(paths=["calibration", "false_accept_rate"])
    )
    found = stubs.galleries.UpdateGallery(request).gallery
    assert found == read(stubs, gallery)
    assert fitted(found) == calibration


def fitted(gallery: resources.Gallery) -> Calibration | None:
    return Calibration.from_json(gallery.calibration.data) if gallery.HasField("calibration") else None


def read(stubs: Stubs, gallery: str) -> resources.Gallery:
    return stubs.galleries.GetGallery(galleries.GetGalleryRequest(name=gallery)).gallery


@pytest.fixture
def taught(stubs: Stubs, gallery: str, drawings: dict[str, list[bytes]]) -> str:
    """Return a gallery with the first picture of twelve classes."""
    enrollments = [
        galleries.Enrollment(class_id=key, images=[image(found[0])]) for key, found in sorted(drawings.items())[:12]
    ]
    stubs.galleries.BatchEnrollClasses(galleries.BatchEnrollClassesRequest(gallery=gallery, enrollments=enrollments))
    return gallery


def test_a_calibration_decides_from_the_next_query_on_until_it_is_cleared(
    stubs: Stubs, taught: str, drawings: dict[str, list[bytes]]
) -> None:
    query = sorted(drawings.items())[2][1][1]
    before = classify(stubs, taught, query)
    strict = dataclasses.replace(made_up(0.0), ambiguity_margin=0.4, ambiguity_spacing=0.0)
    calibrate(stubs, taught, strict)
    after = classify(stubs, taught, query)
    assert (after.threshold, after.verdict) == (0.0, classification.VERDICT_UNKNOWN)
    assert after.ambiguity_margin == pytest.approx(0.4)
    assert after.matches[0].distance == before.matches[0].distance
    assert after.matches[0].probability != before.matches[0].probability
    batch = classification.BatchClassifyRequest(gallery=taught, queries=[resources.Query(image=image(query))])
    (entry,) = stubs.classification.BatchClassify(batch).results
    assert (entry.classification.threshold, entry.classification.probability) == (0.0, after.probability)
    calibrate(stubs, taught, None)
    cleared = classify(stubs, taught, query)
    assert (cleared.threshold, cleared.probability) == (before.threshold, before.probability)


def test_exemplars_are_judged_by_it_too(stubs: Stubs, taught: str, drawings: dict[str, list[bytes]]) -> None:
    new = image(sorted(drawings.items())[20][1][0])
    near = {galleries.ExemplarWarning.KIND_TOO_CLOSE, galleries.ExemplarWarning.KIND_DUPLICATE}
    found = {}
    for factor in (0.0, 1e3):
        calibrate(stubs, taught, made_up(factor))
        checked = stubs.galleries.CheckExemplar(galleries.CheckExemplarRequest(gallery=taught, image=new))
        diagnosed = stubs.galleries.DiagnoseGallery(galleries.DiagnoseGalleryRequest(name=taught))
        enrollment = galleries.Enrollment(class_id="new", images=[new])
        enrolled = stubs.galleries.EnrollClass(galleries.EnrollClassRequest(gallery=taught, enrollment=enrollment))
        stubs.galleries.DeleteClass(galleries.DeleteClassRequest(name=f"{taught}/classes/new"))
        kinds = [{item.kind for item in answer.warnings} for answer in (checked, enrolled)]
        found[factor] = diagnosed.too_close_count, *(bool(each & near) for each in kinds)
    assert found == {0.0: (0, False, False), 1e3: (66, True, True)}


def test_its_own_rate_holds_where_nobody_names_one(stubs: Stubs, taught: str) -> None:
    own = dataclasses.replace(made_up(), default_false_accept_rate=0.125)
    calibrate(stubs, taught, own)
    assert classify(stubs, taught, png()).false_accept_rate == 0.125
    calibrate(stubs, taught, own, rate=0.25)
    assert classify(stubs, taught, png()).false_accept_rate == 0.25
    assert classify(stubs, taught, png(), false_accept_rate=0.5).false_accept_rate == 0.5
    # The least that it was fitted for is what any lower one gets.
    impossible = classify(stubs, taught, png(), false_accept_rate=1e-9)
    assert impossible.false_accept_rate == made_up().false_accept_rates[0]


def test_other_changes_leave_it_alone_and_a_list_leaves_its_data_out(stubs: Stubs, gallery: str) -> None:
    calibrate(stubs, gallery, made_up(1 / 3))
    request = galleries.UpdateGalleryRequest(
        gallery=resources.Gallery(name=gallery, display_name="G"), update_mask=FieldMask(paths=["display_name"])
    )
    kept = stubs.galleries.UpdateGallery(request).gallery
    assert fitted(kept) == made_up(1 / 3)
    listed = stubs.galleries.ListGalleries(galleries.ListGalleriesRequest(page_size=1000)).galleries
    (found,) = (each for each in listed if each.name == gallery)
    assert (found.calibration.data, found.etag) == (b"", kept.etag)
    kept.calibration.ClearField("data")
    assert found.calibration == kept.calibration
    assert (found.calibration.method, found.calibration.fitted_on) == (made_up().method, made_up().fitted_on)


def test_a_new_gallery_takes_none(stubs: Stubs, gallery: str) -> None:
    settings = resources.Gallery(calibration=resources.Calibration(data=made_up().to_json().encode()))
    new = galleries.CreateGalleryRequest(gallery_id=gallery.removeprefix("galleries/") + "-new", gallery=settings)
    assert not stubs.galleries.CreateGallery(new).gallery.HasField("calibration")


def test_the_model_s_own_may_be_sent_to_a_gallery_as_it_was_read(stubs: Stubs, gallery: str) -> None:
    (model,) = stubs.models.ListModels(models.ListModelsRequest()).models
    changed = resources.Gallery(name=gallery, calibration=model.calibration)
    request = galleries.UpdateGalleryRequest(gallery=changed, update_mask=FieldMask(paths=["calibration"]))
    assert stubs.galleries.UpdateGallery(request).gallery.calibration == model.calibration
    assert model.calibration.data


def test_one_that_no_fit_produces_is_refused_naming_the_field_and_changes_nothing(stubs: Stubs, gallery: str) -> None:
    calibrate(stubs, gallery, made_up())
    before = read(stubs, gallery)
    unordered = made_up().to_json().replace("0.01", "0.9")
    fit = made_up().to_json().encode()
    hostile = {
        "nothing": b"",
        "no JSON": b"no JSON",
        "rates that do not ascend": unordered.encode(),
        "too long": fit + b" " * (64 * 1024 + 1 - len(fit)),
        "too deep": b'{"factors": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        "no number": fit.replace(b"0.01", b"NaN"),
        "beyond all numbers": fit.replace(b"0.01", b"1e999"),
        "no UTF-8": fit.replace(b"nothing", b"\xff\xfe"),
        "half a character": fit.replace(b"nothing", b"\\ud800"),
        "a field more": fit.replace(b"{", b'{"more": 1, ', 1),
    }
    for what, data in hostile.items():
        assert data != fit, what
        changed = resources.Gallery(name=gallery, calibration=resources.Calibration(data=data))
        request = galleries.UpdateGalleryRequest(gallery=changed, update_mask=FieldMask(paths=["calibration"]))
        with pytest.raises(grpc.RpcError) as refused:
            stubs.galleries.UpdateGallery(request)
        expected = ("INVALID_ARGUMENT", "FIELD_INVALID", {"field": "gallery.calibration.data"})
        assert refusal(refused.value) == expected, what
    assert read(stubs, gallery) == before
