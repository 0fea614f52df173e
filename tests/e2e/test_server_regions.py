"""One of several things in a picture, over a real socket: as a query, an exemplar, a check and an embedding."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from PIL import Image

from exemplar.v1 import classification_service_pb2 as classification
from exemplar.v1 import gallery_service_pb2 as galleries
from exemplar.v1 import resources_pb2 as resources
from exemplar_encoder import EncodedImage, Region
from tests.e2e.stubs import Stubs, image, png, reason_of, refusal

SIDE = 40


def side_by_side(left: bytes, right: bytes, orientation: int = 1) -> bytes:
    """Return both pictures in one file; stored turned, where its EXIF orientation says so."""
    both = Image.new("L", (2 * SIDE, SIDE))
    both.paste(Image.open(io.BytesIO(left)), (0, 0))
    both.paste(Image.open(io.BytesIO(right)), (SIDE, 0))
    if orientation == 6:  # to be turned clockwise by who shows it
        both = both.transpose(Image.Transpose.ROTATE_90)
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    both.save(buffer, "PNG", exif=exif)
    return buffer.getvalue()


def in_pixels(content: bytes, left: int, top: int = 0, width: int = SIDE, height: int = SIDE) -> resources.Image:
    box = resources.PixelBox(left=left, top=top, width=width, height=height)
    return resources.Image(content=content, region=resources.Region(pixels=box))


def in_fractions(content: bytes, left: float, width: float = 0.5) -> resources.Image:
    box = resources.FractionBox(left=left, top=0.0, width=width, height=1.0)
    return resources.Image(content=content, region=resources.Region(fractions=box))


LEFT, RIGHT = png((SIDE, SIDE), seed=1), png((SIDE, SIDE), seed=2)
BOTH = side_by_side(LEFT, RIGHT)


def enroll(stubs: Stubs, gallery: str, class_id: str, picture: resources.Image) -> galleries.EnrollClassResponse:
    enrollment = galleries.Enrollment(class_id=class_id, images=[picture])
    return stubs.galleries.EnrollClass(galleries.EnrollClassRequest(gallery=gallery, enrollment=enrollment))


def embed(stubs: Stubs, picture: resources.Image) -> list[float]:
    return list(stubs.classification.Embed(classification.EmbedRequest(image=picture)).embedding.values)


@pytest.mark.parametrize("content", [BOTH, side_by_side(LEFT, RIGHT, orientation=6)], ids=["upright", "turned"])
def test_a_part_of_a_picture_is_what_it_would_be_as_a_picture_of_its_own(stubs: Stubs, content: bytes) -> None:
    for x, alone in ((0, LEFT), (SIDE, RIGHT)):
        expected = pytest.approx(embed(stubs, image(alone)), abs=1e-6)
        assert embed(stubs, in_pixels(content, x)) == expected
        assert embed(stubs, in_fractions(content, x / (2 * SIDE))) == expected
    assert embed(stubs, image(content)) != pytest.approx(embed(stubs, image(LEFT)), abs=1e-3)


def test_two_things_in_one_picture_are_two_classes_and_two_queries(stubs: Stubs, gallery: str) -> None:
    first = enroll(stubs, gallery, "left", in_pixels(BOTH, 0))
    second = enroll(stubs, gallery, "right", in_fractions(BOTH, 0.5))
    assert not any("the very same image" in warning.message for warning in second.warnings)
    pictures = [image(LEFT), image(RIGHT), in_fractions(BOTH, 0.0), in_pixels(BOTH, SIDE)]
    queries = [resources.Query(image=picture) for picture in pictures]
    response = stubs.classification.BatchClassify(
        classification.BatchClassifyRequest(gallery=gallery, queries=queries)
    )
    named = [result.classification.matches[0] for result in response.results]
    assert [match.class_id for match in named] == ["left", "right", "left", "right"]
    assert [match.distance for match in named] == pytest.approx([0, 0, 0, 0], abs=1e-4)
    assert first.image_class.exemplars[0].sha256 != second.image_class.exemplars[0].sha256


def test_an_exemplar_keeps_the_whole_picture_and_its_region_and_is_named_by_both(stubs: Stubs, gallery: str) -> None:
    regions = {
        "pixels": (in_pixels(BOTH, SIDE), Region(SIDE, 0, SIDE, SIDE)),
        "fractions": (in_fractions(BOTH, 0.1, 1 / 3), Region(0.1, 0.0, 1 / 3, 1.0, "fraction")),
        "whole": (image(BOTH), None),
    }
    for class_id, (sent, region) in regions.items():
        stored = enroll(stubs, gallery, class_id, sent).image_class
        (exemplar,) = stored.exemplars
        assert exemplar.sha256 == EncodedImage(BOTH, region).sha256()
        assert (exemplar.width, exemplar.height, exemplar.size_bytes) == (2 * SIDE, SIDE, len(BOTH))
        wanted = galleries.GetExemplarImageRequest(class_name=stored.name, sha256=exemplar.sha256)
        found = stubs.galleries.GetExemplarImage(wanted)
        assert (found.image, found.exemplar) == (sent, exemplar)
        assert exemplar.region == sent.region
    assert exemplar.sha256 == hashlib.sha256(BOTH).hexdigest()
    assert not exemplar.HasField("region")


def test_parts_are_checked_added_and_removed_by_name(stubs: Stubs, gallery: str) -> None:
    enroll(stubs, gallery, "left", in_pixels(BOTH, 0))
    own, other, whole = in_pixels(BOTH, 0), in_pixels(BOTH, SIDE), image(BOTH)
    found = {}
    for what, picture in (("own", own), ("other", other), ("whole", whole)):
        check = stubs.galleries.CheckExemplar(galleries.CheckExemplarRequest(gallery=gallery, image=picture))
        found[what] = any("the very same image" in warning.message for warning in check.warnings)
        assert check.exemplar.region == picture.region
    assert found == {"own": True, "other": False, "whole": False}
    roomy = resources.Gallery(name=gallery, max_exemplars_per_class=2)
    stubs.galleries.UpdateGallery(
        galleries.UpdateGalleryRequest(gallery=roomy, update_mask=FieldMask(paths=["max_exemplars_per_class"]))
    )
    name = f"{gallery}/classes/left"
    added = stubs.galleries.AddExemplars(galleries.AddExemplarsRequest(class_name=name, images=[own, other]))
    assert [exemplar.region for exemplar in added.image_class.exemplars] == [own.region, other.region]
    removed = stubs.galleries.RemoveExemplar(
        galleries.RemoveExemplarRequest(class_name=name, sha256=added.image_class.exemplars[0].sha256)
    )
    assert [exemplar.region for exemplar in removed.image_class.exemplars] == [other.region]


BAD = {
    "beyond the right edge": in_pixels(BOTH, SIDE + 1),
    "beyond the bottom": in_pixels(BOTH, 0, top=1),
    "of no width": in_pixels(BOTH, 0, width=0),
    "before the left edge": in_pixels(BOTH, -1),
    "beyond 1": in_fractions(BOTH, 0.6),
    "less than a pixel": in_fractions(BOTH, 0.5, 0.0001),
    "no number": in_fractions(BOTH, float("nan")),
    "no box": resources.Image(content=BOTH, region=resources.Region()),
}


def test_a_region_that_the_picture_does_not_have_is_refused_naming_the_field(stubs: Stubs, gallery: str) -> None:
    enroll(stubs, gallery, "fine", image(LEFT))
    for what, bad in BAD.items():
        calls: dict[str, Callable[[], object]] = {
            "query.image.region": lambda bad=bad: stubs.classification.Classify(  # type: ignore[misc]
                classification.ClassifyRequest(gallery=gallery, query=resources.Query(image=bad))
            ),
            "image.region": lambda bad=bad: embed(stubs, bad),  # type: ignore[misc]
            "images[0].region": lambda bad=bad: enroll(stubs, gallery, "bad", bad),  # type: ignore[misc]
        }
        for field, call in calls.items():
            with pytest.raises(grpc.RpcError) as refused:
                call()
            assert refusal(refused.value) == ("INVALID_ARGUMENT", "IMAGE_BAD_REGION", {"field": field}), what


def test_in_a_batch_a_bad_region_costs_only_its_own_result(stubs: Stubs, gallery: str) -> None:
    pictures = [in_pixels(BOTH, 0), *BAD.values(), in_pixels(BOTH, SIDE)]
    embedded = stubs.classification.BatchEmbed(classification.BatchEmbedRequest(images=pictures)).results
    enrollments = [galleries.Enrollment(class_id=str(n), images=[each]) for n, each in enumerate(pictures)]
    enrolled = stubs.galleries.BatchEnrollClasses(
        galleries.BatchEnrollClassesRequest(gallery=gallery, enrollments=enrollments)
    ).results
    queries = [resources.Query(image=picture) for picture in pictures]
    classified = stubs.classification.BatchClassify(
        classification.BatchClassifyRequest(gallery=gallery, queries=queries)
    ).results
    for results in (embedded, enrolled, classified):
        assert not results[0].HasField("error")
        assert not results[-1].HasField("error")
        assert {reason_of(result.error)[0] for result in results[1:-1]} == {"IMAGE_BAD_REGION"}
    assert [item.classification.matches[0].class_id for item in (classified[0], classified[-1])] == ["0", "9"]


def test_a_part_that_is_too_small_is_refused_for_that(stubs: Stubs) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        embed(stubs, in_pixels(BOTH, 0, width=7))
    assert refusal(refused.value)[1] == "IMAGE_TOO_SMALL"
