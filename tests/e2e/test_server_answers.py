"""A running server's answers to good requests, over a real socket."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable

import grpc
import numpy as np
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from demo.server_process import ServerProcess
from exemplar.v1 import classification_service_pb2 as classification
from exemplar.v1 import gallery_service_pb2 as galleries
from exemplar.v1 import model_service_pb2 as models
from exemplar.v1 import resources_pb2 as resources
from exemplar_encoder.calibration import gaps_of
from tests.calibrations import made_up
from tests.e2e.stubs import Stubs, classify, image, plant, png, refusal


def enroll(stubs: Stubs, gallery: str, pictures: dict[str, bytes]) -> None:
    enrollments = [galleries.Enrollment(class_id=key, images=[image(found)]) for key, found in pictures.items()]
    stubs.galleries.BatchEnrollClasses(galleries.BatchEnrollClassesRequest(gallery=gallery, enrollments=enrollments))


def embedded(stubs: Stubs, picture: bytes) -> resources.Embedding:
    return stubs.classification.Embed(classification.EmbedRequest(image=image(picture))).embedding


# Naming


def test_an_exemplar_itself_matches_its_class_at_distance_zero(
    stubs: Stubs, stocked: str, drawings: dict[str, list[bytes]]
) -> None:
    for key in list(drawings)[::7]:
        answer = classify(stubs, stocked, drawings[key][0], top_k=3)
        assert answer.matches[0].class_id == key
        assert answer.matches[0].class_name == f"{stocked}/classes/{key}"
        assert answer.matches[0].distance == pytest.approx(0, abs=1e-4)
        assert [match.distance for match in answer.matches] == sorted(match.distance for match in answer.matches)
        assert len(answer.matches) == 3
        assert answer.probability == answer.matches[0].probability
        assert answer.verdict in (classification.VERDICT_MATCH, classification.VERDICT_AMBIGUOUS)
        assert answer.threshold > 0
        assert answer.gallery_revision == 2


def test_new_pictures_are_mostly_named_right(stubs: Stubs, stocked: str, drawings: dict[str, list[bytes]]) -> None:
    queries = [resources.Query(image=image(found[1])) for found in drawings.values()]
    response = stubs.classification.BatchClassify(
        classification.BatchClassifyRequest(gallery=stocked, queries=queries)
    )
    named = [result.classification.matches[0].class_id for result in response.results]
    right = sum(name == key for name, key in zip(named, drawings, strict=True))
    assert right > 5  # by chance it would be one


def test_a_batch_answers_each_query_as_it_would_be_answered_alone(
    stubs: Stubs, stocked: str, drawings: dict[str, list[bytes]]
) -> None:
    pictures = [found[2] for found in drawings.values()][:10]
    queries = [resources.Query(image=image(picture)) for picture in pictures]
    response = stubs.classification.BatchClassify(
        classification.BatchClassifyRequest(gallery=stocked, queries=queries)
    )
    for picture, result in zip(pictures, response.results, strict=True):
        alone = classify(stubs, stocked, picture)
        together = result.classification
        assert [match.class_id for match in together.matches] == [match.class_id for match in alone.matches]
        assert together.matches[0].distance == pytest.approx(alone.matches[0].distance, abs=1e-5)


def test_a_query_by_embedding_is_answered_as_one_by_its_image(
    stubs: Stubs, stocked: str, drawings: dict[str, list[bytes]]
) -> None:
    picture = next(iter(drawings.values()))[3]
    embedding = stubs.classification.Embed(classification.EmbedRequest(image=image(picture))).embedding
    by_embedding = stubs.classification.Classify(
        classification.ClassifyRequest(gallery=stocked, query=resources.Query(embedding=embedding))
    ).classification
    by_image = classify(stubs, stocked, picture)
    assert [match.class_id for match in by_embedding.matches] == [match.class_id for match in by_image.matches]
    assert by_embedding.model == by_image.model == embedding.model


def test_the_probability_does_not_hang_on_how_many_matches_are_shown(
    stubs: Stubs, stocked: str, drawings: dict[str, list[bytes]]
) -> None:
    picture = next(iter(drawings.values()))[1]
    one, many = (classify(stubs, stocked, picture, top_k=shown) for shown in (1, 30))
    assert (len(one.matches), len(many.matches)) == (1, 30)
    assert (one.matches[0], one.probability, one.verdict) == (many.matches[0], many.probability, many.verdict)


def test_a_lower_false_accept_rate_lowers_the_threshold(
    stubs: Stubs, gallery: str, drawings: dict[str, list[bytes]]
) -> None:
    enroll(stubs, gallery, {key: found[0] for key, found in list(drawings.items())[:3]})
    plant(stubs, gallery, made_up())
    picture = next(iter(drawings.values()))[1]
    strict = classify(stubs, gallery, picture, false_accept_rate=0.05)
    lax = classify(stubs, gallery, picture, false_accept_rate=0.9)
    assert strict.threshold < lax.threshold
    assert (strict.false_accept_rate, lax.false_accept_rate) == (0.05, 0.9)


def test_a_picture_taught_twice_costs_its_own_class_alone(
    stubs: Stubs, gallery: str, drawings: dict[str, list[bytes]]
) -> None:
    kept = {key: found[0] for key, found in sorted(drawings.items())[:8]}
    enroll(stubs, gallery, kept)
    # Every distance is accepted, and only a tie is ambiguous.
    calibration = dataclasses.replace(made_up(1e3), ambiguity_margin=0.0)
    plant(stubs, gallery, calibration)
    before = [classify(stubs, gallery, picture) for picture in kept.values()]
    assert {answer.verdict for answer in before} == {classification.VERDICT_MATCH}
    enroll(stubs, gallery, {"again": next(iter(kept.values()))})
    after = [classify(stubs, gallery, picture) for picture in kept.values()]
    assert after[0].verdict == classification.VERDICT_AMBIGUOUS
    assert {answer.verdict for answer in after[1:]} == {classification.VERDICT_MATCH}
    # The two gaps of 0 are left out of the spacing; else its smallest tenth, one gap of nine, would be 0.
    vectors = np.array([embedded(stubs, picture).values for picture in kept.values()], np.float32)
    gaps = gaps_of(np.concatenate([vectors, vectors[:1]]))
    assert after[1].threshold == pytest.approx(calibration.threshold(0.05, 9, calibration.spacing(9, gaps)), rel=1e-4)
    assert after[1].threshold > 0.5 * before[1].threshold


def test_a_query_far_from_every_class_is_unknown(
    stubs: Stubs, gallery: str, drawings: dict[str, list[bytes]]
) -> None:
    picture = next(iter(drawings.values()))[0]
    enroll(stubs, gallery, {"only": picture})
    plant(stubs, gallery, made_up())
    opposite = resources.Embedding(values=[-value for value in embedded(stubs, picture).values])
    request = classification.ClassifyRequest(gallery=gallery, query=resources.Query(embedding=opposite))
    answer = stubs.classification.Classify(request).classification
    assert answer.verdict == classification.VERDICT_UNKNOWN
    assert answer.matches[0].distance == pytest.approx(2, abs=1e-4)  # as far as unit vectors can be
    assert answer.threshold < 1


# Galleries and classes


def test_a_gallery_can_be_made_changed_listed_and_deleted(stubs: Stubs) -> None:
    settings = resources.Gallery(display_name="Zed", false_accept_rate=0.02, max_exemplars_per_class=3)
    create = galleries.CreateGalleryRequest(gallery_id="zed", gallery=settings)
    made = stubs.galleries.CreateGallery(create).gallery
    assert (made.display_name, made.false_accept_rate, made.max_exemplars_per_class) == ("Zed", 0.02, 3)
    with pytest.raises(grpc.RpcError) as refused:
        stubs.galleries.CreateGallery(create)
    assert refusal(refused.value)[:2] == ("ALREADY_EXISTS", "GALLERY_EXISTS")
    mask = FieldMask(paths=["false_accept_rate"])
    changed = stubs.galleries.UpdateGallery(
        galleries.UpdateGalleryRequest(gallery=resources.Gallery(name=made.name), update_mask=mask)
    ).gallery
    assert (changed.display_name, changed.HasField("false_accept_rate")) == ("Zed", False)
    names: list[str] = []
    token = ""
    while True:
        page = stubs.galleries.ListGalleries(galleries.ListGalleriesRequest(page_size=2, page_token=token))
        names += [gallery.name for gallery in page.galleries]
        token = page.next_page_token
        if not token:
            break
    assert names == sorted(names)
    assert made.name in names
    stubs.galleries.DeleteGallery(galleries.DeleteGalleryRequest(name=made.name))
    with pytest.raises(grpc.RpcError):
        stubs.galleries.GetGallery(galleries.GetGalleryRequest(name=made.name))


def test_an_enrolled_class_is_named_renamed_and_deleted(stubs: Stubs, gallery: str) -> None:
    picture = png(seed=5)
    enrollment = galleries.Enrollment(
        class_id="a b", images=[image(picture)], display_name="A", attributes={"k": "v"}
    )
    enrolled = stubs.galleries.EnrollClass(galleries.EnrollClassRequest(gallery=gallery, enrollment=enrollment))
    stored = enrolled.image_class
    assert (enrolled.replaced, stored.display_name, dict(stored.attributes)) == (False, "A", {"k": "v"})
    assert stored.exemplars[0].sha256 == hashlib.sha256(picture).hexdigest()
    match = classify(stubs, gallery, picture).matches[0]
    assert (match.class_id, match.display_name, dict(match.attributes)) == ("a b", "A", {"k": "v"})
    renamed = stubs.galleries.UpdateClass(
        galleries.UpdateClassRequest(
            image_class=resources.ImageClass(name=stored.name, display_name="B"),
            update_mask=FieldMask(paths=["display_name"]),
        )
    ).image_class
    assert (renamed.display_name, dict(renamed.attributes)) == ("B", {"k": "v"})
    answer = classify(stubs, gallery, picture)
    assert answer.matches[0].display_name == "B"
    assert answer.verdict == classification.VERDICT_MATCH  # one class alone cannot be ambiguous
    wanted = galleries.GetExemplarImageRequest(class_name=stored.name, sha256=stored.exemplars[0].sha256)
    exemplar = stubs.galleries.GetExemplarImage(wanted)
    assert (exemplar.image, exemplar.exemplar) == (image(picture), stored.exemplars[0])
    with pytest.raises(grpc.RpcError) as refused:
        stubs.galleries.GetExemplarImage(galleries.GetExemplarImageRequest(class_name=stored.name, sha256="0" * 64))
    assert refusal(refused.value)[:2] == ("NOT_FOUND", "EXEMPLAR_NOT_FOUND")
    again = stubs.galleries.EnrollClass(galleries.EnrollClassRequest(gallery=gallery, enrollment=enrollment))
    assert again.replaced
    assert again.gallery_revision > enrolled.gallery_revision
    with pytest.raises(grpc.RpcError) as not_empty:
        stubs.galleries.DeleteGallery(galleries.DeleteGalleryRequest(name=gallery))
    assert refusal(not_empty.value)[1] == "GALLERY_NOT_EMPTY"
    stubs.galleries.DeleteClass(galleries.DeleteClassRequest(name=stored.name))
    with pytest.raises(grpc.RpcError):
        stubs.galleries.GetClass(galleries.GetClassRequest(name=stored.name))


def test_of_two_enrollments_with_one_id_in_a_batch_the_last_counts(stubs: Stubs, gallery: str) -> None:
    enrollments = [galleries.Enrollment(class_id="a", images=[image(png(seed=seed))]) for seed in (1, 2)]
    response = stubs.galleries.BatchEnrollClasses(
        galleries.BatchEnrollClassesRequest(gallery=gallery, enrollments=enrollments)
    )
    assert [result.enrolled.replaced for result in response.results] == [False, True]
    stored = stubs.galleries.GetClass(galleries.GetClassRequest(name=f"{gallery}/classes/a")).image_class
    assert [exemplar.sha256 for exemplar in stored.exemplars] == [hashlib.sha256(png(seed=2)).hexdigest()]


def test_an_exemplar_of_another_class_is_warned_of_and_refused_when_strict(
    stubs: Stubs, stocked: str, drawings: dict[str, list[bytes]]
) -> None:
    key = next(iter(drawings))
    picture = drawings[key][0]
    check = stubs.galleries.CheckExemplar(galleries.CheckExemplarRequest(gallery=stocked, image=image(picture)))
    assert [(w.kind, w.other_class_id) for w in check.warnings] == [(galleries.ExemplarWarning.KIND_DUPLICATE, key)]
    assert check.nearest[0].class_id == key
    own = stubs.galleries.CheckExemplar(
        galleries.CheckExemplarRequest(gallery=stocked, image=image(picture), class_id=key)
    )
    assert all(warning.other_class_id != key for warning in own.warnings)
    request = galleries.EnrollClassRequest(
        gallery=stocked, enrollment=galleries.Enrollment(class_id="copy", images=[image(picture)]), strict=True
    )
    with pytest.raises(grpc.RpcError) as refused:
        stubs.galleries.EnrollClass(request)
    code, reason, metadata = refusal(refused.value)
    assert (code, reason) == ("FAILED_PRECONDITION", "EXEMPLAR_REFUSED")
    assert metadata == {"class": "copy", "warnings": "DUPLICATE"}


def test_diagnosis_names_the_nearest_pairs_and_counts_those_within_the_threshold(
    stubs: Stubs, gallery: str, drawings: dict[str, list[bytes]]
) -> None:
    enroll(stubs, gallery, {key: found[0] for key, found in drawings.items()})
    vectors = {key: np.array(embedded(stubs, images[0]).values) for key, images in drawings.items()}
    keys = sorted(vectors)
    expected = sorted(
        (float(np.linalg.norm(vectors[a] - vectors[b])), a, b) for i, a in enumerate(keys) for b in keys[i + 1 :]
    )
    distances = [distance for distance, _, _ in expected]
    # A threshold in the middle of the widest step between two distances, so that rounding decides nothing.
    within = max(range(1, len(distances)), key=lambda count: distances[count] - distances[count - 1])
    spacing = made_up().spacing(len(keys), gaps_of(np.array(list(vectors.values()), np.float32)))
    plant(stubs, gallery, made_up((distances[within - 1] + distances[within]) / 2 / spacing))
    diagnosis = stubs.galleries.DiagnoseGallery(galleries.DiagnoseGalleryRequest(name=gallery, max_pairs=7))
    assert [pair.distance for pair in diagnosis.pairs] == pytest.approx(distances[:7], abs=1e-4)
    assert all(pair.first_class_id < pair.second_class_id for pair in diagnosis.pairs)
    assert diagnosis.too_close_count == within


# Around the services


def test_reflection_lists_the_services(server: ServerProcess) -> None:
    listed = set(ProtoReflectionDescriptorDatabase(server.channel()).get_services())
    assert listed >= {
        "exemplar.v1.ClassificationService",
        "exemplar.v1.GalleryService",
        "exemplar.v1.ModelService",
        "grpc.health.v1.Health",
    }


def test_the_model_is_described(stubs: Stubs) -> None:
    (model,) = stubs.models.ListModels(models.ListModelsRequest()).models
    assert stubs.models.GetModel(models.GetModelRequest(name=model.name)).model == model
    assert model.engine in ("litert", "tensorflow")
    assert (model.calibration.method, 0 < model.calibration.default_false_accept_rate < 1) == ("spacing/1", True)
    assert model.create_time.seconds > 0


def test_the_metrics_page_counts_what_was_answered(server: ServerProcess, stubs: Stubs, stocked: str) -> None:
    count = 'exemplar_requests_total{code="OK",method="Classify"}'
    refused = 'exemplar_requests_total{code="INVALID_ARGUMENT",method="Classify"}'
    before = server.metric(count), server.metric(refused), server.metric("exemplar_decode_seconds_count")
    for _ in range(3):
        classify(stubs, stocked, png())
    with pytest.raises(grpc.RpcError):
        classify(stubs, stocked, b"")
    after = server.metric(count), server.metric(refused), server.metric("exemplar_decode_seconds_count")
    assert [b - a for a, b in zip(before, after, strict=True)] == [3, 1, 3]
    page = server.metrics()
    for name in ("batch_images", "queue_wait_seconds", "encode_seconds", "search_seconds", "request_seconds"):
        assert f"exemplar_{name}_count" in page
    assert server.metric("exemplar_queue_images") == 0
    assert server.metric("exemplar_classes") >= 48


def test_the_log_tells_refusals_and_never_holds_an_image(server: ServerProcess, stubs: Stubs, stocked: str) -> None:
    secret = b"SECRET-PIXELS" * 10
    with pytest.raises(grpc.RpcError):
        classify(stubs, stocked, secret)
    classify(stubs, stocked, png())
    assert server.wait_for("refused")["reason"]
    assert "SECRET-PIXELS" not in server.log
    assert "PNG\\r" not in server.log


def test_a_log_line_stays_short_however_long_a_caller_s_text_is(server: ServerProcess, stubs: Stubs) -> None:
    longest = "x" * 1_000_000
    calls: list[Callable[[], object]] = [
        lambda: stubs.galleries.DeleteGallery(galleries.DeleteGalleryRequest(name=longest)),
        lambda: stubs.galleries.DeleteGallery(galleries.DeleteGalleryRequest(name="galleries/g", request_id=longest)),
        lambda: stubs.models.GetModel(models.GetModelRequest(name=f"models/{longest}")),
    ]
    for call in calls:
        with pytest.raises(grpc.RpcError) as refused:
            call()
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert max(map(len, server.log.splitlines())) < 2000
