"""The server's dataclasses as messages of `exemplar.v1`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from exemplar.names import class_name, gallery_name, model_name
from exemplar.v1 import classification_service_pb2 as classification_pb
from exemplar.v1 import gallery_service_pb2 as gallery_pb
from exemplar.v1 import resources_pb2 as pb
from exemplar_encoder import Encoder, Verdict
from exemplar_encoder.arrays import Floats
from exemplar_server.classifier import Classification
from exemplar_server.enrollment import EnrolledClass
from exemplar_server.exemplar_warnings import ExemplarWarning, WarningKind
from exemplar_server.recent_queries import OtherKindOfPicture
from exemplar_server.rpc import calibration
from exemplar_server.rpc.images import region_message
from exemplar_server.store import ClassRecord, Exemplar, Gallery

_VERDICTS = {
    Verdict.MATCH: classification_pb.VERDICT_MATCH,
    Verdict.AMBIGUOUS: classification_pb.VERDICT_AMBIGUOUS,
    Verdict.UNKNOWN: classification_pb.VERDICT_UNKNOWN,
}
_KINDS = {
    WarningKind.BLANK: gallery_pb.ExemplarWarning.KIND_BLANK,
    WarningKind.TINY: gallery_pb.ExemplarWarning.KIND_TINY,
    WarningKind.BLURRED: gallery_pb.ExemplarWarning.KIND_BLURRED,
    WarningKind.DUPLICATE: gallery_pb.ExemplarWarning.KIND_DUPLICATE,
    WarningKind.TOO_CLOSE: gallery_pb.ExemplarWarning.KIND_TOO_CLOSE,
}


def classification(of: Classification, gallery: str) -> classification_pb.Classification:
    """Return the answer to a query."""
    prefix = class_name(gallery, "")
    matches = [
        classification_pb.Match(
            class_name=prefix + found.class_id,
            class_id=found.class_id,
            display_name=found.display_name,
            attributes=found.attributes,
            distance=found.distance,
            probability=probability,
        )
        for found, probability in of.matches
    ]
    return classification_pb.Classification(
        verdict=_VERDICTS[of.verdict],
        probability=of.probability,
        matches=matches,
        threshold=of.threshold,
        false_accept_rate=of.false_accept_rate,
        ambiguity_margin=of.ambiguity_margin,
        model=model_name(of.model),
        gallery_revision=of.gallery_revision,
        hints=hints(of.other_kind),
    )


def hints(of: OtherKindOfPicture | None) -> list[pb.Hint]:
    """Return what the latest queries tell."""
    if of is None:
        return []
    return [
        pb.Hint(
            kind=pb.Hint.KIND_OTHER_KIND_OF_PICTURE,
            message=of.message,
            recent_queries=of.recent_queries,
            unknown_queries=of.unknown_queries,
            shift=of.shift,
        )
    ]


def embedding(values: Floats, model: str) -> pb.Embedding:
    """Return an embedding float32 `[dimension]`."""
    return pb.Embedding(values=values.tolist(), model=model_name(model))


def gallery(of: Gallery, calibration_data: bool = True) -> pb.Gallery:
    """Return a gallery; in a list without the data of its calibration."""
    return pb.Gallery(
        name=gallery_name(of.id),
        display_name=of.display_name,
        model=model_name(of.model),
        revision=of.revision,
        class_count=of.class_count,
        false_accept_rate=of.false_accept_rate,
        max_exemplars_per_class=of.max_exemplars_per_class,
        create_time=_timestamp(of.create_time),
        update_time=_timestamp(of.update_time),
        calibration=None if of.calibration is None else calibration.message(of.calibration, calibration_data),
        etag=of.etag,
    )


def image_class(of: ClassRecord, gallery_id: str, model_id: str | None = None) -> pb.ImageClass:
    """Return a class; with its embedding where the model that made it is given."""
    if of.damaged:
        return pb.ImageClass(name=class_name(gallery_id, of.id), damaged=True)
    return pb.ImageClass(
        name=class_name(gallery_id, of.id),
        display_name=of.display_name,
        attributes=of.attributes,
        exemplars=[exemplar(item) for item in of.exemplars],
        create_time=_timestamp(of.create_time),
        update_time=_timestamp(of.update_time),
        etag=of.etag,
        embedding=None if model_id is None else embedding(of.embedding, model_id),
    )


def exemplar(of: Exemplar) -> pb.Exemplar:
    """Return the description of an exemplar."""
    return pb.Exemplar(
        sha256=of.sha256,
        width=of.width,
        height=of.height,
        format=of.format,
        size_bytes=of.size_bytes,
        region=region_message(of.region),
    )


def enrolled(of: EnrolledClass, gallery_id: str, revision: int) -> gallery_pb.EnrollClassResponse:
    """Return a class as stored, with the warnings about it."""
    return gallery_pb.EnrollClassResponse(
        image_class=image_class(of.record, gallery_id),
        replaced=of.replaced,
        warnings=warnings(of.warnings),
        gallery_revision=revision,
    )


def warnings(of: Iterable[ExemplarWarning]) -> list[gallery_pb.ExemplarWarning]:
    """Return warnings about exemplars."""
    return [
        gallery_pb.ExemplarWarning(
            kind=_KINDS[item.kind],
            message=item.message,
            other_class_id=item.other_class_id,
            distance=item.distance,
        )
        for item in of
    ]


def model(encoder: Encoder) -> pb.Model:
    """Return the loaded bundle."""
    bundle = encoder.bundle
    manifest = bundle.manifest
    return pb.Model(
        name=model_name(bundle.id),
        display_name=manifest.name,
        recipe=manifest.recipe,
        dimension=manifest.dimension,
        input_width=manifest.preprocessing.width,
        input_height=manifest.preprocessing.height,
        input_channels=manifest.preprocessing.channels,
        engine=encoder.engine_name,
        calibration=calibration.message(bundle.calibration),
        figures=[
            pb.Figure(name=figure.name, value=figure.value, low=figure.low, high=figure.high)
            for figure in bundle.figures
        ],
        create_time=_timestamp(datetime.fromisoformat(manifest.created)),
    )


def _timestamp(moment: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(moment)
    return message
