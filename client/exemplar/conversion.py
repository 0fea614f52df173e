"""From the contract's messages to the client's dataclasses; `requests` goes the other way."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from exemplar import results
from exemplar.region import Region
from exemplar.v1 import classification_service_pb2 as classification_pb
from exemplar.v1 import gallery_service_pb2 as gallery_pb
from exemplar.v1 import resources_pb2 as resources_pb

_HINT_KINDS = {
    resources_pb.Hint.KIND_OTHER_KIND_OF_PICTURE: results.HintKind.OTHER_KIND_OF_PICTURE,
}


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _time(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(UTC)


def gallery(message: resources_pb.Gallery) -> results.Gallery:
    """Convert a gallery."""
    return results.Gallery(
        id=_last(message.name),
        display_name=message.display_name,
        model=_last(message.model),
        revision=message.revision,
        class_count=message.class_count,
        false_accept_rate=message.false_accept_rate if message.HasField("false_accept_rate") else None,
        max_exemplars_per_class=(
            message.max_exemplars_per_class if message.HasField("max_exemplars_per_class") else 1
        ),
        create_time=_time(message.create_time),
        update_time=_time(message.update_time),
        etag=message.etag,
        calibration=calibration(message.calibration) if message.HasField("calibration") else None,
    )


def calibration(message: resources_pb.Calibration) -> results.Calibration:
    """Convert a calibration."""
    return results.Calibration(
        method=message.method,
        fitted_on=message.fitted_on,
        default_false_accept_rate=message.default_false_accept_rate,
        ambiguity_error_rate=message.ambiguity_error_rate,
        data=message.data,
    )


def region(message: resources_pb.Region) -> Region:
    """Convert a region."""
    if message.HasField("fractions"):
        share = message.fractions
        return Region(share.left, share.top, share.width, share.height, "fraction")
    box = message.pixels
    return Region(box.left, box.top, box.width, box.height)


def exemplar(message: resources_pb.Exemplar) -> results.Exemplar:
    """Convert an exemplar."""
    return results.Exemplar(
        sha256=message.sha256,
        width=message.width,
        height=message.height,
        format=message.format,
        size_bytes=message.size_bytes,
        region=region(message.region) if message.HasField("region") else None,
    )


def image_class(message: resources_pb.ImageClass) -> results.ImageClass:
    """Convert a class."""
    _, gallery_id, _, class_id = message.name.split("/", 3)
    return results.ImageClass(
        id=class_id,
        gallery=gallery_id,
        display_name=message.display_name,
        attributes=dict(message.attributes),
        exemplars=tuple(exemplar(each) for each in message.exemplars),
        create_time=_time(message.create_time),
        update_time=_time(message.update_time),
        etag=message.etag,
        embedding=embedding(message.embedding) if message.HasField("embedding") else None,
        damaged=message.damaged,
    )


def classification(message: classification_pb.Classification) -> results.Classification:
    """Convert the answer to a query."""
    verdict = classification_pb.Verdict.Name(message.verdict).removeprefix("VERDICT_")
    return results.Classification(
        verdict=results.Verdict(verdict),
        probability=message.probability,
        matches=tuple(
            results.Match(each.class_id, each.display_name, dict(each.attributes), each.distance, each.probability)
            for each in message.matches
        ),
        threshold=message.threshold,
        false_accept_rate=message.false_accept_rate,
        ambiguity_margin=message.ambiguity_margin,
        model=_last(message.model),
        gallery_revision=message.gallery_revision,
        hints=hints(message.hints),
    )


def hints(messages: Iterable[resources_pb.Hint]) -> tuple[results.Hint, ...]:
    """Convert hints; a kind that a later server knows and this client does not becomes OTHER."""
    return tuple(
        results.Hint(
            kind=_HINT_KINDS.get(each.kind, results.HintKind.OTHER),
            message=each.message,
            recent_queries=each.recent_queries,
            unknown_queries=each.unknown_queries,
            shift=each.shift,
        )
        for each in messages
    )


def embedding(message: resources_pb.Embedding) -> results.Embedding:
    """Convert an embedding."""
    return results.Embedding(tuple(message.values), _last(message.model))


def warnings(messages: Iterable[gallery_pb.ExemplarWarning]) -> tuple[results.ExemplarWarning, ...]:
    """Convert warnings; a kind that a later server knows and this client does not becomes OTHER."""
    kinds = gallery_pb.ExemplarWarning.Kind
    names = {number: name.removeprefix("KIND_") for name, number in kinds.items()}
    known = results.WarningKind.__members__
    return tuple(
        results.ExemplarWarning(
            kind=results.WarningKind(known.get(names.get(each.kind, ""), results.WarningKind.OTHER)),
            message=each.message,
            other_class_id=each.other_class_id,
            distance=each.distance if each.HasField("distance") else None,
        )
        for each in messages
    )


def enrolled(message: gallery_pb.EnrollClassResponse) -> results.Enrolled:
    """Convert what an enrollment led to."""
    return results.Enrolled(
        image_class=image_class(message.image_class),
        replaced=message.replaced,
        warnings=warnings(message.warnings),
        gallery_revision=message.gallery_revision,
    )


def exemplars_added(message: gallery_pb.AddExemplarsResponse) -> results.ExemplarsAdded:
    """Convert what adding exemplars led to."""
    changed = image_class(message.image_class)
    return results.ExemplarsAdded(changed, warnings(message.warnings), message.gallery_revision)


def exemplar_removed(message: gallery_pb.RemoveExemplarResponse) -> results.ExemplarRemoved:
    """Convert what removing an exemplar led to."""
    return results.ExemplarRemoved(image_class(message.image_class), message.gallery_revision)


def check(message: gallery_pb.CheckExemplarResponse) -> results.ExemplarCheck:
    """Convert what was found about an image."""
    return results.ExemplarCheck(
        warnings=warnings(message.warnings),
        nearest=tuple(
            results.NearestClass(each.class_id, each.display_name, each.distance) for each in message.nearest
        ),
        exemplar=exemplar(message.exemplar),
    )


def diagnosis(message: gallery_pb.DiagnoseGalleryResponse) -> results.Diagnosis:
    """Convert a gallery's diagnosis."""
    return results.Diagnosis(
        pairs=tuple(
            results.ConfusablePair(each.first_class_id, each.second_class_id, each.distance, each.too_close)
            for each in message.pairs
        ),
        too_close_count=message.too_close_count,
        threshold=message.threshold,
        gallery_revision=message.gallery_revision,
        hints=hints(message.hints),
    )


def model(message: resources_pb.Model) -> results.Model:
    """Convert a model."""
    return results.Model(
        id=_last(message.name),
        display_name=message.display_name,
        recipe=message.recipe,
        dimension=message.dimension,
        input_width=message.input_width,
        input_height=message.input_height,
        input_channels=message.input_channels,
        engine=message.engine,
        calibration=calibration(message.calibration),
        figures=tuple(
            results.Figure(
                each.name,
                each.value,
                each.low if each.HasField("low") else None,
                each.high if each.HasField("high") else None,
            )
            for each in message.figures
        ),
        create_time=_time(message.create_time),
    )
