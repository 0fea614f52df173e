"""A running server's refusals, over a real socket: each bad input with its own typed error."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from exemplar.v1 import classification_service_pb2 as classification
from exemplar.v1 import gallery_service_pb2 as galleries
from exemplar.v1 import model_service_pb2 as models
from exemplar.v1 import resources_pb2 as resources
from tests.e2e.stubs import Stubs, classify, image, png, reason_of, refusal

MIB = 1024 * 1024


def bomb() -> bytes:
    """Return a PNG of a few hundred bytes that says it is 60,000 x 60,000 pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


BAD_IMAGES = {
    "empty": (b"", "IMAGE_EMPTY"),
    "garbage": (b"this is no image at all", "IMAGE_UNSUPPORTED_FORMAT"),
    "truncated": (png()[:200], "IMAGE_TRUNCATED"),
    "bomb": (bomb(), "IMAGE_TOO_LARGE"),
    "too many bytes": (bytes(17 * MIB), "IMAGE_TOO_LARGE"),
    "one pixel": (png((1, 1)), "IMAGE_TOO_SMALL"),
}

# Bad images


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_a_bad_image_is_refused_with_its_reason_and_field(stubs: Stubs, stocked: str, kind: str) -> None:
    content, reason = BAD_IMAGES[kind]
    calls: dict[str, Callable[[], object]] = {
        "query.image": lambda: classify(stubs, stocked, content),
        "image": lambda: stubs.classification.Embed(classification.EmbedRequest(image=image(content))),
        "images[0]": lambda: stubs.galleries.EnrollClass(
            galleries.EnrollClassRequest(
                gallery=stocked, enrollment=galleries.Enrollment(class_id="bad", images=[image(content)])
            )
        ),
    }
    for field, call in calls.items():
        with pytest.raises(grpc.RpcError) as refused:
            call()
        assert refusal(refused.value) == ("INVALID_ARGUMENT", reason, {"field": field})


def test_bad_items_of_a_batch_cost_only_their_own_results(stubs: Stubs, stocked: str, gallery: str) -> None:
    small = {kind: bad for kind, bad in BAD_IMAGES.items() if len(bad[0]) < MIB}
    images = [image(content) for content in (png(seed=1), *(bad for bad, _ in small.values()), png(seed=2))]
    expected = [None, *(reason for _, reason in small.values()), None]

    def reasons(results: object, value: str) -> list[str | None]:
        return [None if result.HasField(value) else reason_of(result.error)[0] for result in results]  # type: ignore[attr-defined]

    queries = [resources.Query(image=each) for each in images]
    classified = stubs.classification.BatchClassify(
        classification.BatchClassifyRequest(gallery=stocked, queries=queries)
    )
    assert reasons(classified.results, "classification") == expected
    embedded = stubs.classification.BatchEmbed(classification.BatchEmbedRequest(images=images))
    assert reasons(embedded.results, "embedding") == expected
    enrollments = [galleries.Enrollment(class_id=str(index), images=[each]) for index, each in enumerate(images)]
    enrolled = stubs.galleries.BatchEnrollClasses(
        galleries.BatchEnrollClassesRequest(gallery=gallery, enrollments=enrollments)
    )
    assert reasons(enrolled.results, "enrolled") == expected
    listed = stubs.galleries.ListClasses(galleries.ListClassesRequest(gallery=gallery))
    assert [item.name.rpartition("/")[2] for item in listed.classes] == ["0", str(len(images) - 1)]
    assert stubs.galleries.GetGallery(galleries.GetGalleryRequest(name=gallery)).gallery.revision == 2


# Bad embeddings and fields


def embedding_query(values: list[float], model: str = "") -> resources.Query:
    return resources.Query(embedding=resources.Embedding(values=values, model=model))


def test_bad_embeddings_are_refused_with_their_reasons(stubs: Stubs, stocked: str) -> None:
    model = stubs.models.ListModels(models.ListModelsRequest()).models[0]
    fine = [1.0] + [0.0] * (model.dimension - 1)
    queries = {
        "FIELD_INVALID": [
            embedding_query([float("nan"), *fine[1:]]),
            embedding_query([float("inf"), *fine[1:]]),
            embedding_query([3e38, *fine[1:]]),
        ],
        "DIMENSION_MISMATCH": [embedding_query(fine[1:]), embedding_query([])],
        "MODEL_MISMATCH": [embedding_query(fine, "models/" + "0" * 64)],
    }
    for reason, bad in queries.items():
        for query in bad:
            with pytest.raises(grpc.RpcError) as refused:
                stubs.classification.Classify(classification.ClassifyRequest(gallery=stocked, query=query))
            assert refusal(refused.value)[1] == reason
    everything = [query for bad in queries.values() for query in bad]
    response = stubs.classification.BatchClassify(
        classification.BatchClassifyRequest(gallery=stocked, queries=[embedding_query(fine), *everything])
    )
    assert response.results[0].HasField("classification")
    found = [reason_of(result.error)[0] for result in response.results[1:]]
    assert found == [reason for reason, bad in queries.items() for _ in bad]


@pytest.mark.parametrize("length", [0.0, 0.5, 0.998, 1.002, 7.0, 1e20, 3e38])
def test_an_embedding_that_is_not_of_unit_length_costs_its_own_result_and_is_told_its_length(
    stubs: Stubs, stocked: str, length: float
) -> None:
    dimension = stubs.models.ListModels(models.ListModelsRequest()).models[0].dimension

    def along(value: float) -> resources.Query:
        return embedding_query([value] + [0.0] * (dimension - 1))

    request = classification.BatchClassifyRequest(gallery=stocked, queries=[along(1.0), along(length), along(0.9995)])
    before, refused, after = stubs.classification.BatchClassify(request).results
    assert before.HasField("classification")
    assert after.HasField("classification")
    assert refused.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert reason_of(refused.error) == ("FIELD_INVALID", {"field": "query.embedding.values"})
    assert f"length {length:.4g}" in refused.error.message
    assert "length 1" in refused.error.message


def test_what_the_server_embedded_is_taken_as_a_query(
    stubs: Stubs, stocked: str, drawings: dict[str, list[bytes]]
) -> None:
    images = [image(found[1]) for found in drawings.values()]
    embedded = stubs.classification.BatchEmbed(classification.BatchEmbedRequest(images=images)).results
    queries = [resources.Query(embedding=each.embedding) for each in embedded]
    answered = stubs.classification.BatchClassify(
        classification.BatchClassifyRequest(gallery=stocked, queries=queries)
    )
    assert all(result.HasField("classification") for result in answered.results)


def test_another_model_than_the_caller_expects_is_refused_naming_both(stubs: Stubs, stocked: str) -> None:
    actual = stubs.models.ListModels(models.ListModelsRequest()).models[0].name.removeprefix("models/")
    with pytest.raises(grpc.RpcError) as refused:
        classify(stubs, stocked, png(), model="models/" + "0" * 64)
    expected = ("FAILED_PRECONDITION", "MODEL_MISMATCH", {"expected": "0" * 64, "actual": actual})
    assert refusal(refused.value) == expected


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("options.top_k", {"top_k": 0}),
        ("options.top_k", {"top_k": 101}),
        ("options.false_accept_rate", {"false_accept_rate": 0.0}),
        ("options.false_accept_rate", {"false_accept_rate": 1.0}),
        ("options.false_accept_rate", {"false_accept_rate": float("nan")}),
        ("options.false_accept_rate", {"false_accept_rate": float("inf")}),
        ("options.model", {"model": "nonsense"}),
    ],
)
def test_an_option_out_of_range_is_refused_naming_it(
    stubs: Stubs, stocked: str, field: str, options: dict[str, object]
) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        classify(stubs, stocked, png(), **options)
    assert refusal(refused.value) == ("INVALID_ARGUMENT", "FIELD_INVALID", {"field": field})


def test_names_and_ids_that_are_none_are_refused_naming_the_field(stubs: Stubs, gallery: str) -> None:
    create, enroll = stubs.galleries.CreateGallery, stubs.galleries.EnrollClass
    attributes = {str(number): "" for number in range(65)}

    def enrolling(**fields: Any) -> galleries.EnrollClassRequest:
        return galleries.EnrollClassRequest(gallery=gallery, enrollment=galleries.Enrollment(**fields))

    picture = image(png())
    calls: list[tuple[str, Callable[[], object]]] = [
        *(
            ("gallery_id", lambda bad=bad: create(galleries.CreateGalleryRequest(gallery_id=bad)))
            for bad in ("", "-a", "a-", "A", "a/b", "a" * 64, "ä")
        ),
        *(
            ("enrollment.class_id", lambda bad=bad: enroll(enrolling(class_id=bad, images=[picture])))
            for bad in ("", "a/b", "a\n", "a" * 129)
        ),
        (
            "enrollment.attributes",
            lambda: enroll(enrolling(class_id="a", images=[picture], attributes=attributes)),
        ),
        ("images", lambda: enroll(enrolling(class_id="a"))),
        ("images", lambda: enroll(enrolling(class_id="a", images=[picture, picture]))),
        (
            "sha256",
            lambda: stubs.galleries.GetExemplarImage(
                galleries.GetExemplarImageRequest(class_name=f"{gallery}/classes/a")
            ),
        ),
        ("gallery", lambda: classify(stubs, "stocked", png())),
        ("name", lambda: stubs.galleries.GetClass(galleries.GetClassRequest(name=gallery))),
        ("query", lambda: stubs.classification.Classify(classification.ClassifyRequest(gallery=gallery))),
        ("queries", lambda: stubs.classification.BatchClassify(classification.BatchClassifyRequest(gallery=gallery))),
        ("page_token", lambda: stubs.galleries.ListGalleries(galleries.ListGalleriesRequest(page_token="x"))),
        ("page_size", lambda: stubs.galleries.ListGalleries(galleries.ListGalleriesRequest(page_size=-1))),
        (
            "update_mask",
            lambda: stubs.galleries.UpdateGallery(
                galleries.UpdateGalleryRequest(
                    gallery=resources.Gallery(name=gallery), update_mask=FieldMask(paths=["model"])
                )
            ),
        ),
    ]
    for field, call in calls:
        with pytest.raises(grpc.RpcError) as refused:
            call()
        assert refusal(refused.value) == ("INVALID_ARGUMENT", "FIELD_INVALID", {"field": field})


def test_texts_and_settings_reach_their_limits_and_no_further(stubs: Stubs, gallery: str) -> None:
    def enroll(display_name: str = "", attributes: dict[str, str] | None = None) -> object:
        enrollment = galleries.Enrollment(
            class_id="a", images=[image(png())], display_name=display_name, attributes=attributes or {}
        )
        return stubs.galleries.EnrollClass(galleries.EnrollClassRequest(gallery=gallery, enrollment=enrollment))

    def update(**settings: Any) -> object:
        changed = resources.Gallery(name=gallery, **settings)
        mask = FieldMask(paths=list(settings))
        return stubs.galleries.UpdateGallery(galleries.UpdateGalleryRequest(gallery=changed, update_mask=mask))

    def diagnose(max_pairs: int) -> object:
        return stubs.galleries.DiagnoseGallery(galleries.DiagnoseGalleryRequest(name=gallery, max_pairs=max_pairs))

    allowed: list[Callable[[], object]] = [
        lambda: enroll("ä" * 1024, {f"{number:064}": "ä" * 1024 for number in range(64)}),
        lambda: update(display_name="ä" * 1024, max_exemplars_per_class=16, false_accept_rate=0.999),
        lambda: diagnose(1000),
    ]
    for call in allowed:
        call()
    refusals: list[tuple[str, Callable[[], object]]] = [
        ("enrollment.display_name", lambda: enroll("x" * 1025)),
        ("enrollment.attributes", lambda: enroll(attributes={"x" * 65: ""})),
        ("enrollment.attributes", lambda: enroll(attributes={"x": "x" * 1025})),
        ("gallery.display_name", lambda: update(display_name="x" * 1025)),
        *(
            ("gallery.max_exemplars_per_class", lambda bad=bad: update(max_exemplars_per_class=bad))
            for bad in (0, 17)
        ),
        *(
            ("gallery.false_accept_rate", lambda bad=bad: update(false_accept_rate=bad))
            for bad in (0.0, 1.0, -0.1, float("nan"))
        ),
        *(("max_pairs", lambda bad=bad: diagnose(bad)) for bad in (-1, 1001)),
    ]
    for field, call in refusals:
        with pytest.raises(grpc.RpcError) as refused:
            call()
        assert refusal(refused.value) == ("INVALID_ARGUMENT", "FIELD_INVALID", {"field": field})


def test_what_does_not_exist_is_named(stubs: Stubs, gallery: str) -> None:
    calls: dict[str, Callable[[], object]] = {
        "GALLERY_NOT_FOUND": lambda: classify(stubs, "galleries/none", png()),
        "CLASS_NOT_FOUND": lambda: stubs.galleries.GetClass(
            galleries.GetClassRequest(name=f"{gallery}/classes/none")
        ),
        "MODEL_NOT_FOUND": lambda: stubs.models.GetModel(models.GetModelRequest(name="models/none")),
    }
    for reason, call in calls.items():
        with pytest.raises(grpc.RpcError) as refused:
            call()
        assert refusal(refused.value)[:2] == ("NOT_FOUND", reason)
    with pytest.raises(grpc.RpcError) as empty:
        classify(stubs, gallery, png())
    assert refusal(empty.value)[:2] == ("FAILED_PRECONDITION", "GALLERY_EMPTY")


# Limits


def test_a_message_over_the_limit_is_refused_stating_the_limit(stubs: Stubs) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        stubs.classification.BatchEmbed(classification.BatchEmbedRequest(images=[image(bytes(11 * MIB))] * 3))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert str(32 * MIB) in str(refused.value.details())


def test_a_batch_over_the_limit_is_refused_stating_the_limit(stubs: Stubs, stocked: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: stubs.classification.BatchEmbed(classification.BatchEmbedRequest(images=[image(b"")] * 257)),
        lambda: stubs.classification.BatchClassify(
            classification.BatchClassifyRequest(gallery=stocked, queries=[resources.Query()] * 257)
        ),
        lambda: stubs.galleries.BatchEnrollClasses(
            galleries.BatchEnrollClassesRequest(gallery=stocked, enrollments=[galleries.Enrollment()] * 257)
        ),
    ]
    for call in calls:
        with pytest.raises(grpc.RpcError) as refused:
            call()
        code, reason, metadata = refusal(refused.value)
        assert (code, reason, metadata["limit"]) == ("RESOURCE_EXHAUSTED", "BATCH_TOO_LARGE", "256")
        assert "256" in str(refused.value.details())
