"""`GalleryService`, the part about galleries: messages in, messages out."""

from __future__ import annotations

import asyncio
from typing import Literal, cast

from exemplar.v1 import gallery_service_pb2 as pb
from exemplar.v1 import gallery_service_pb2_grpc as pb_grpc
from exemplar.v1 import resources_pb2
from exemplar_server.classifier import check_rate
from exemplar_server.errors import invalid_field
from exemplar_server.rpc import calibration, convert, names
from exemplar_server.rpc.application import Context
from exemplar_server.rpc.classes import ClassMethods
from exemplar_server.store import GalleryChanges

MAX_EXEMPLARS = 16
MAX_PAIRS = 1000
DEFAULT_PAIRS = 20

_Field = Literal["display_name", "false_accept_rate", "max_exemplars_per_class", "calibration"]
_FIELDS = ("display_name", "false_accept_rate", "max_exemplars_per_class", "calibration")


class GalleryServicer(ClassMethods, pb_grpc.GalleryServiceServicer):
    """Keeps galleries and the classes in them."""

    async def CreateGallery(self, request: pb.CreateGalleryRequest, context: Context) -> pb.CreateGalleryResponse:  # noqa: N802
        """Creates an empty gallery of the server's model."""
        gallery = names.check_gallery_id("gallery_id", request.gallery_id)
        display_name, rate, exemplars = _settings(request.gallery)
        encoder = self._application.classifier.encoder
        created = await asyncio.to_thread(
            self._store.create_gallery, gallery, encoder.bundle.id, encoder.dimension, display_name, rate, exemplars
        )
        return pb.CreateGalleryResponse(gallery=convert.gallery(created))

    async def GetGallery(self, request: pb.GetGalleryRequest, context: Context) -> pb.GetGalleryResponse:  # noqa: N802
        """Reads a gallery."""
        gallery = names.parse_gallery("name", request.name)
        found = await asyncio.to_thread(self._store.get_gallery, gallery)
        return pb.GetGalleryResponse(gallery=convert.gallery(found))

    async def ListGalleries(self, request: pb.ListGalleriesRequest, context: Context) -> pb.ListGalleriesResponse:  # noqa: N802
        """Lists the galleries by id."""
        size, after = names.page(request.page_size, request.page_token)
        found = await asyncio.to_thread(self._store.list_galleries, after, size + 1)
        token = names.page_token(found[size - 1].id) if len(found) > size else ""
        return pb.ListGalleriesResponse(
            galleries=[convert.gallery(gallery, tables=False) for gallery in found[:size]], next_page_token=token
        )

    async def UpdateGallery(self, request: pb.UpdateGalleryRequest, context: Context) -> pb.UpdateGalleryResponse:  # noqa: N802
        """Changes the fields that `update_mask` names."""
        gallery = names.parse_gallery("gallery.name", request.gallery.name)
        paths = request.update_mask.paths
        for path in paths:
            if path not in _FIELDS:
                raise invalid_field("update_mask", f"it may name {', '.join(_FIELDS)}, not {path[:100]!r}")
        if not paths:
            raise invalid_field("update_mask", "it names no field to change")
        fitted = None
        if "calibration" in paths and request.gallery.HasField("calibration"):
            fitted = calibration.parse("gallery.calibration", request.gallery.calibration)
            # It was fitted on embeddings of the server's model, and says nothing of another's.
            self._application.classifier.gallery(gallery)
        changes = GalleryChanges(frozenset(cast(list[_Field], paths)), *_settings(request.gallery), fitted)
        updated = await asyncio.to_thread(self._store.update_gallery, gallery, changes)
        return pb.UpdateGalleryResponse(gallery=convert.gallery(updated))

    async def DeleteGallery(self, request: pb.DeleteGalleryRequest, context: Context) -> pb.DeleteGalleryResponse:  # noqa: N802
        """Deletes a gallery with all its classes."""
        gallery = names.parse_gallery("name", request.name)
        await asyncio.to_thread(self._store.delete_gallery, gallery, request.force)
        return pb.DeleteGalleryResponse()

    async def DiagnoseGallery(  # noqa: N802
        self, request: pb.DiagnoseGalleryRequest, context: Context
    ) -> pb.DiagnoseGalleryResponse:
        """Finds the pairs of classes most easily confused."""
        gallery = names.parse_gallery("name", request.name)
        if not 0 <= request.max_pairs <= MAX_PAIRS:
            raise invalid_field("max_pairs", f"it must be 0 to {MAX_PAIRS:,}, not {request.max_pairs}")
        found = await self._application.advisor.diagnose(gallery, request.max_pairs or DEFAULT_PAIRS)
        return pb.DiagnoseGalleryResponse(
            pairs=[
                pb.ConfusablePair(
                    first_class_id=pair.first,
                    second_class_id=pair.second,
                    distance=pair.distance,
                    too_close=pair.distance < found.threshold,
                )
                for pair in found.pairs
            ],
            too_close_count=found.too_close_count,
            threshold=found.threshold,
            gallery_revision=found.gallery_revision,
        )


def _settings(message: resources_pb2.Gallery) -> tuple[str, float | None, int | None]:
    display_name = names.check_display_name("gallery.display_name", message.display_name)
    rate = message.false_accept_rate if message.HasField("false_accept_rate") else None
    check_rate("gallery.false_accept_rate", rate)
    exemplars = message.max_exemplars_per_class if message.HasField("max_exemplars_per_class") else None
    if exemplars is not None and not 1 <= exemplars <= MAX_EXEMPLARS:
        raise invalid_field("gallery.max_exemplars_per_class", f"it must be 1 to {MAX_EXEMPLARS}, not {exemplars}")
    return display_name, rate, exemplars
