"""`GalleryService`, the calls about galleries: messages in, messages out."""

from __future__ import annotations

import asyncio
from typing import Literal, cast

from exemplar.v1 import gallery_service_pb2 as pb
from exemplar.v1 import resources_pb2
from exemplar_server.access.caller import Caller
from exemplar_server.call import this_call
from exemplar_server.classifier import check_rate
from exemplar_server.errors import invalid_field
from exemplar_server.rpc import calibration, messages, names
from exemplar_server.rpc.dependencies import Context, Dependencies
from exemplar_server.rpc.images import MAX_EXEMPLARS
from exemplar_server.rpc.names import MAX_PAGE
from exemplar_server.rpc.repeats import answer_once
from exemplar_server.store import Gallery, GalleryChanges, Request

MAX_PAIRS = 1000
DEFAULT_PAIRS = 20

_Field = Literal["display_name", "false_accept_rate", "max_exemplars_per_class", "calibration"]
_FIELDS = ("display_name", "false_accept_rate", "max_exemplars_per_class", "calibration")


class GalleryCalls:
    """The calls of `GalleryService` that are about galleries."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies

    async def CreateGallery(self, request: pb.CreateGalleryRequest, context: Context) -> pb.CreateGalleryResponse:  # noqa: N802
        """Create an empty gallery of the server's model."""
        gallery = names.check_gallery_id("gallery_id", request.gallery_id)
        display_name, rate, most_exemplars = _settings(request.gallery)
        store, writer = self._dependencies.store, self._dependencies.writer
        encoder = self._dependencies.classifier.encoder

        async def change(repeatable: Request[Gallery] | None) -> Gallery:
            wanted = gallery, encoder.bundle.id, encoder.dimension, display_name, rate, most_exemplars
            return await writer.change(
                gallery, lambda group: group.create_gallery(*wanted, repeatable), repeatable, alone=True
            )

        def respond(created: Gallery) -> pb.CreateGalleryResponse:
            return pb.CreateGalleryResponse(gallery=messages.gallery(created))

        return await answer_once(store, request, pb.CreateGalleryResponse, change, respond)

    async def GetGallery(self, request: pb.GetGalleryRequest, context: Context) -> pb.GetGalleryResponse:  # noqa: N802
        """Read a gallery."""
        gallery = names.parse_gallery("name", request.name)
        found = await asyncio.to_thread(self._dependencies.store.get_gallery, gallery)
        return pb.GetGalleryResponse(gallery=messages.gallery(found))

    async def ListGalleries(self, request: pb.ListGalleriesRequest, context: Context) -> pb.ListGalleriesResponse:  # noqa: N802
        """List the galleries by id."""
        size, after = names.page(request.page_size, request.page_token)
        found = await asyncio.to_thread(self._visible, this_call().who, after, size + 1)
        token = names.page_token(found[size - 1].id) if len(found) > size else ""
        listed = [messages.gallery(gallery, calibration_data=False) for gallery in found[:size]]
        return pb.ListGalleriesResponse(galleries=listed, next_page_token=token)

    def _visible(self, caller: Caller, after: str, size: int) -> list[Gallery]:
        """Return the first galleries after an id that are there for a caller."""
        found: list[Gallery] = []
        while len(found) < size:
            read = self._dependencies.store.list_galleries(after, MAX_PAGE)
            found += [gallery for gallery in read if caller.sees(gallery.id)]
            if len(read) < MAX_PAGE:
                break
            after = read[-1].id
        return found[:size]

    async def UpdateGallery(self, request: pb.UpdateGalleryRequest, context: Context) -> pb.UpdateGalleryResponse:  # noqa: N802
        """Change the fields that `update_mask` names."""
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
        changes = GalleryChanges(frozenset(cast(list[_Field], paths)), *_settings(request.gallery), fitted)
        store, writer = self._dependencies.store, self._dependencies.writer
        classifier = self._dependencies.classifier

        async def change(repeatable: Request[Gallery] | None) -> Gallery:
            if fitted is not None:
                # It was fitted on embeddings of the server's model, and says nothing of another's.
                await classifier.gallery(gallery)
            wanted = gallery, changes, request.gallery.etag
            return await writer.change(
                gallery, lambda group: group.update_gallery(*wanted, repeatable), repeatable, alone=True
            )

        def respond(updated: Gallery) -> pb.UpdateGalleryResponse:
            return pb.UpdateGalleryResponse(gallery=messages.gallery(updated))

        return await answer_once(store, request, pb.UpdateGalleryResponse, change, respond)

    async def DeleteGallery(self, request: pb.DeleteGalleryRequest, context: Context) -> pb.DeleteGalleryResponse:  # noqa: N802
        """Delete a gallery with all its classes."""
        gallery = names.parse_gallery("name", request.name)
        store, writer = self._dependencies.store, self._dependencies.writer

        async def change(repeatable: Request[None] | None) -> None:
            wanted = gallery, request.force, request.allow_missing
            await writer.change(
                gallery, lambda group: group.delete_gallery(*wanted, repeatable), repeatable, alone=True, frees=True
            )

        def respond(_: None) -> pb.DeleteGalleryResponse:
            return pb.DeleteGalleryResponse()

        return await answer_once(store, request, pb.DeleteGalleryResponse, change, respond)

    async def DiagnoseGallery(  # noqa: N802
        self, request: pb.DiagnoseGalleryRequest, context: Context
    ) -> pb.DiagnoseGalleryResponse:
        """Find the pairs of classes most easily confused."""
        gallery = names.parse_gallery("name", request.name)
        if not 0 <= request.max_pairs <= MAX_PAIRS:
            raise invalid_field("max_pairs", f"it must be 0 to {MAX_PAIRS:,}, not {request.max_pairs}")
        inspector = self._dependencies.inspector
        found = await inspector.diagnose_gallery(gallery, request.max_pairs or DEFAULT_PAIRS)
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
            hints=messages.hints(found.other_kind),
        )


def _settings(message: resources_pb2.Gallery) -> tuple[str, float | None, int | None]:
    display_name = names.check_display_name("gallery.display_name", message.display_name)
    rate = message.false_accept_rate if message.HasField("false_accept_rate") else None
    check_rate("gallery.false_accept_rate", rate)
    exemplars = message.max_exemplars_per_class if message.HasField("max_exemplars_per_class") else None
    if exemplars is not None and not 1 <= exemplars <= MAX_EXEMPLARS:
        raise invalid_field("gallery.max_exemplars_per_class", f"it must be 1 to {MAX_EXEMPLARS}, not {exemplars}")
    return display_name, rate, exemplars
