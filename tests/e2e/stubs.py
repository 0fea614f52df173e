"""The services as a test calls them: stubs on a channel, typed errors read back, pictures of noise."""

from __future__ import annotations

import io
from typing import Any

import grpc
import numpy as np
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2_grpc
from PIL import Image

from exemplar.v1 import classification_service_pb2 as classification
from exemplar.v1 import (
    classification_service_pb2_grpc,
    gallery_service_pb2_grpc,
    model_service_pb2_grpc,
)
from exemplar.v1 import gallery_service_pb2 as galleries
from exemplar.v1 import resources_pb2 as resources
from exemplar_encoder import Calibration
from exemplar_encoder.arrays import Pixels


class Stubs:
    """The services of a channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        self.classification = classification_service_pb2_grpc.ClassificationServiceStub(channel)
        self.galleries = gallery_service_pb2_grpc.GalleryServiceStub(channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(channel)
        self.health = health_pb2_grpc.HealthStub(channel)


def status_of(error: grpc.RpcError) -> status_pb2.Status:
    """Return the `google.rpc.Status` that came with a call's error."""
    metadata: Any = error.trailing_metadata()
    trailing = dict(metadata)
    assert "grpc-status-details-bin" in trailing, f"no google.rpc.Status: {error}"
    return status_pb2.Status.FromString(trailing["grpc-status-details-bin"])


def reason_of(status: status_pb2.Status) -> tuple[str, dict[str, str]]:
    """Return reason and metadata in a status's ErrorInfo."""
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "exemplar"
    return info.reason, dict(info.metadata)


def refusal(error: grpc.RpcError) -> tuple[str, str, dict[str, str]]:
    """Return code, reason and metadata of a call's typed error."""
    return error.code().name, *reason_of(status_of(error))


def image(content: bytes) -> resources.Image:
    """Return a whole image as requests take it."""
    return resources.Image(content=content)


def classify(stubs: Stubs, gallery: str, content: bytes, **options: Any) -> classification.Classification:
    """Classify one image."""
    request = classification.ClassifyRequest(gallery=gallery, query=resources.Query(image=image(content)))
    request.options.CopyFrom(classification.ClassificationOptions(**options))
    return stubs.classification.Classify(request).classification


def plant(stubs: Stubs, gallery: str, calibration: Calibration) -> None:
    """Give a gallery a calibration made by hand, so that its verdicts hang on no fit."""
    changed = resources.Gallery(name=gallery, calibration=resources.Calibration(data=calibration.to_json().encode()))
    mask = FieldMask(paths=["calibration"])
    stubs.galleries.UpdateGallery(galleries.UpdateGalleryRequest(gallery=changed, update_mask=mask))


def png(size: tuple[int, int] = (40, 40), seed: int = 0) -> bytes:
    """Return noise as a PNG, another for each seed."""
    return _encoded(np.random.default_rng(seed).integers(0, 256, (size[1], size[0])).astype(np.uint8))


def blank_png() -> bytes:
    """Return a picture of nothing, of which the server warns."""
    return _encoded(np.full((40, 40), 255, np.uint8))


def _encoded(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
