"""More than one exemplar a class, over a real socket: added, removed, refused, and never lost."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from exemplar.v1 import gallery_service_pb2 as galleries
from exemplar.v1 import resources_pb2 as resources
from tests.calibrations import made_up
from tests.e2e.stubs import Stubs, classify, image, plant, png, refusal


@pytest.fixture
def roomy(stubs: Stubs, gallery: str) -> str:
    """A gallery that allows six exemplars a class."""
    allowed = resources.Gallery(name=gallery, max_exemplars_per_class=6)
    mask = FieldMask(paths=["max_exemplars_per_class"])
    stubs.galleries.UpdateGallery(galleries.UpdateGalleryRequest(gallery=allowed, update_mask=mask))
    return gallery


def enroll(stubs: Stubs, gallery: str, class_id: str, images: list[bytes]) -> galleries.EnrollClassResponse:
    enrollment = galleries.Enrollment(class_id=class_id, images=[image(content) for content in images])
    return stubs.galleries.EnrollClass(galleries.EnrollClassRequest(gallery=gallery, enrollment=enrollment))


def add(
    stubs: Stubs, gallery: str, class_id: str, images: list[bytes], strict: bool = False
) -> galleries.AddExemplarsResponse:
    name = f"{gallery}/classes/{class_id}"
    request = galleries.AddExemplarsRequest(class_name=name, images=map(image, images), strict=strict)
    return stubs.galleries.AddExemplars(request)


def remove(stubs: Stubs, gallery: str, class_id: str, content: bytes) -> galleries.RemoveExemplarResponse:
    name = f"{gallery}/classes/{class_id}"
    return stubs.galleries.RemoveExemplar(
        galleries.RemoveExemplarRequest(class_name=name, sha256=hashlib.sha256(content).hexdigest())
    )


def digests(images: list[bytes]) -> list[str]:
    return [hashlib.sha256(content).hexdigest() for content in images]


def held(of: resources.ImageClass) -> list[str]:
    return [exemplar.sha256 for exemplar in of.exemplars]


def test_a_class_changed_one_exemplar_at_a_time_answers_as_one_enrolled_at_once(
    stubs: Stubs, roomy: str, drawings: dict[str, list[bytes]]
) -> None:
    first, second, third, fourth = next(iter(drawings.values()))[:4]
    others = [images[0] for images in list(drawings.values())[1:6]]
    for number, other in enumerate(others):
        enroll(stubs, roomy, f"other-{number}", [other])
    enroll(stubs, roomy, "a", [first])
    enroll(stubs, roomy, "at-once", [second, fourth])
    added = add(stubs, roomy, "a", [second, third, fourth])
    assert held(added.image_class) == digests([first, second, third, fourth])
    remove(stubs, roomy, "a", first)
    removed = remove(stubs, roomy, "a", third)
    assert held(removed.image_class) == digests([second, fourth])
    assert removed.gallery_revision == added.gallery_revision + 2
    for query in [first, third, *others]:
        answer = classify(stubs, roomy, query, top_k=7)
        distances = {match.class_id: match.distance for match in answer.matches}
        assert distances["a"] == distances["at-once"]
        assert answer.gallery_revision == removed.gallery_revision
    pairs = stubs.galleries.DiagnoseGallery(galleries.DiagnoseGalleryRequest(name=roomy)).pairs
    assert (pairs[0].first_class_id, pairs[0].second_class_id, pairs[0].distance) == ("a", "at-once", 0.0)


def test_an_image_that_the_class_has_already_is_kept_once(stubs: Stubs, roomy: str) -> None:
    images = [png(seed=1), png(seed=2)]
    enrolled = enroll(stubs, roomy, "a", [images[0], images[0]])
    assert held(enrolled.image_class) == digests(images[:1])
    first = add(stubs, roomy, "a", [images[1], images[0]])
    again = add(stubs, roomy, "a", [images[1], images[0]])
    assert held(first.image_class) == held(again.image_class) == digests(images)
    assert first.gallery_revision == again.gallery_revision


def test_an_added_exemplar_is_warned_of_and_refused_when_strict(stubs: Stubs, roomy: str) -> None:
    blank, picture, twin = png((60, 60)), png(seed=1), png(seed=2)
    enroll(stubs, roomy, "a", [picture])
    enroll(stubs, roomy, "twin", [twin])
    with pytest.raises(grpc.RpcError) as refused:
        add(stubs, roomy, "a", [png(seed=3), twin], strict=True)
    code, reason, metadata = refusal(refused.value)
    assert (code, reason, metadata["class"]) == ("FAILED_PRECONDITION", "EXEMPLAR_REFUSED", "a")
    assert "DUPLICATE" in metadata["warnings"]
    assert held(add(stubs, roomy, "a", [picture]).image_class) == digests([picture])
    added = add(stubs, roomy, "a", [blank, twin])
    assert [(w.other_class_id) for w in added.warnings if w.kind == w.KIND_DUPLICATE] == ["twin"]


def test_a_class_that_its_exemplars_bring_too_close_to_another_is_warned_of(
    stubs: Stubs, roomy: str, drawings: dict[str, list[bytes]]
) -> None:
    plant(stubs, roomy, made_up(1e3))  # any two classes are too close
    first, second, third = next(iter(drawings.values()))[:3]
    enroll(stubs, roomy, "twin", [first])
    enroll(stubs, roomy, "a", [second])
    (warning,) = (w for w in add(stubs, roomy, "a", [third]).warnings if w.other_class_id)
    (pair,) = stubs.galleries.DiagnoseGallery(galleries.DiagnoseGalleryRequest(name=roomy)).pairs
    assert warning.other_class_id == "twin"
    # The comparison is of what the class is searched by from now on, not the picture alone.
    assert warning.distance == pytest.approx(pair.distance, abs=1e-6)


def test_what_cannot_be_added_or_removed_is_told_and_changes_nothing(stubs: Stubs, roomy: str) -> None:
    enroll(stubs, roomy, "a", [png(seed=seed) for seed in range(5)])
    enroll(stubs, roomy, "b", [png(seed=9)])
    before = stubs.galleries.GetGallery(galleries.GetGalleryRequest(name=roomy)).gallery.revision
    cases: list[tuple[Callable[[], object], str, str, str]] = [
        (
            lambda: add(stubs, roomy, "a", [png(seed=5), png(seed=6)]),
            *("FAILED_PRECONDITION", "TOO_MANY_EXEMPLARS", "would have 7 exemplars, 2 of them new"),
        ),
        (lambda: add(stubs, roomy, "a", []), "INVALID_ARGUMENT", "FIELD_INVALID", "at least one is needed"),
        (
            lambda: add(stubs, roomy, "a", [png(seed=seed) for seed in range(7)]),
            *("INVALID_ARGUMENT", "FIELD_INVALID", "raise its max_exemplars_per_class"),
        ),
        (lambda: add(stubs, roomy, "a", [png(seed=5), b""]), "INVALID_ARGUMENT", "IMAGE_EMPTY", "images[1]"),
        (lambda: add(stubs, roomy, "c", [png()]), "NOT_FOUND", "CLASS_NOT_FOUND", "no class 'c'"),
        (lambda: add(stubs, roomy + "x", "a", [png()]), "NOT_FOUND", "GALLERY_NOT_FOUND", "no gallery"),
        (
            lambda: remove(stubs, roomy, "a", png(seed=9)),
            "NOT_FOUND",
            "EXEMPLAR_NOT_FOUND",
            "no exemplar with SHA-256",
        ),
        (lambda: remove(stubs, roomy, "c", png()), "NOT_FOUND", "CLASS_NOT_FOUND", "no class 'c'"),
        (
            lambda: remove(stubs, roomy, "b", png(seed=9)),
            *("FAILED_PRECONDITION", "LAST_EXEMPLAR", "delete the class instead"),
        ),
        (
            lambda: stubs.galleries.RemoveExemplar(
                galleries.RemoveExemplarRequest(class_name=f"{roomy}/classes/a", sha256="0" * 63)
            ),
            *("INVALID_ARGUMENT", "FIELD_INVALID", "sha256: it must be 64 hexadecimal digits"),
        ),
    ]
    for call, code, reason, words in cases:
        with pytest.raises(grpc.RpcError) as refused:
            call()
        assert refusal(refused.value)[:2] == (code, reason)
        assert words in str(refused.value.details())
    assert stubs.galleries.GetGallery(galleries.GetGalleryRequest(name=roomy)).gallery.revision == before


def test_exemplars_that_many_callers_add_and_remove_at_once_are_all_accounted_for(stubs: Stubs, roomy: str) -> None:
    images = [png(seed=seed) for seed in range(6)]
    enroll(stubs, roomy, "a", images[:1])
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda content: add(stubs, roomy, "a", [content]), images[1:]))
        found = stubs.galleries.GetClass(galleries.GetClassRequest(name=f"{roomy}/classes/a"))
        assert sorted(held(found.image_class)) == sorted(digests(images))
        list(pool.map(lambda content: remove(stubs, roomy, "a", content), images[:5]))
    found = stubs.galleries.GetClass(galleries.GetClassRequest(name=f"{roomy}/classes/a"))
    assert held(found.image_class) == digests(images[5:])
    assert classify(stubs, roomy, images[5]).matches[0].distance == pytest.approx(0, abs=1e-6)
