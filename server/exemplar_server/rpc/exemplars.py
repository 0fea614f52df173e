"""`GalleryService`, the calls about exemplars: messages in, messages out."""

from __future__ import annotations

import asyncio

from exemplar.v1 import gallery_service_pb2 as pb
from exemplar_server.enrollment import AddedExemplars
from exemplar_server.rpc import messages, names
from exemplar_server.rpc.dependencies import Context, Dependencies
from exemplar_server.rpc.images import image_message, parse_image, parse_images
from exemplar_server.rpc.repeats import answer_once
from exemplar_server.store import ClassRecord, Request


class ExemplarCalls:
    """The calls of `GalleryService` that are about exemplars."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies

    async def AddExemplars(self, request: pb.AddExemplarsRequest, context: Context) -> pb.AddExemplarsResponse:  # noqa: N802
        """Add exemplars to a class."""
        gallery, class_id = names.parse_class("class_name", request.class_name)
        images = parse_images(request.images)

        def respond(added: AddedExemplars) -> pb.AddExemplarsResponse:
            return pb.AddExemplarsResponse(
                image_class=messages.image_class(added.record, gallery),
                warnings=messages.warnings(added.warnings),
                gallery_revision=added.gallery_revision,
            )

        async def change(repeatable: Request[AddedExemplars] | None) -> AddedExemplars:
            enroller = self._dependencies.enroller
            return await enroller.add_exemplars(gallery, class_id, images, request.strict, repeatable)

        return await answer_once(self._dependencies.store, request, pb.AddExemplarsResponse, change, respond)

    async def RemoveExemplar(self, request: pb.RemoveExemplarRequest, context: Context) -> pb.RemoveExemplarResponse:  # noqa: N802
        """Remove an exemplar of a class."""
        gallery, class_id = names.parse_class("class_name", request.class_name)
        sha256 = names.check_sha256("sha256", request.sha256)
        store, writer = self._dependencies.store, self._dependencies.writer

        def respond(removed: tuple[ClassRecord, int]) -> pb.RemoveExemplarResponse:
            record, revision = removed
            return pb.RemoveExemplarResponse(
                image_class=messages.image_class(record, gallery), gallery_revision=revision
            )

        async def change(repeatable: Request[tuple[ClassRecord, int]] | None) -> tuple[ClassRecord, int]:
            wanted = gallery, class_id, sha256, request.allow_missing
            return await writer.change(
                gallery, lambda group: group.remove_exemplar(*wanted, repeatable), repeatable, frees=True
            )

        return await answer_once(store, request, pb.RemoveExemplarResponse, change, respond)

    async def GetExemplarImage(  # noqa: N802
        self, request: pb.GetExemplarImageRequest, context: Context
    ) -> pb.GetExemplarImageResponse:
        """Return an exemplar's image as it was sent."""
        gallery, class_id = names.parse_class("class_name", request.class_name)
        sha256 = names.check_sha256("sha256", request.sha256)
        store = self._dependencies.store
        content, exemplar = await asyncio.to_thread(store.exemplar_image, gallery, class_id, sha256)
        image = image_message(content, exemplar.region)
        return pb.GetExemplarImageResponse(image=image, exemplar=messages.exemplar(exemplar))

    async def CheckExemplar(self, request: pb.CheckExemplarRequest, context: Context) -> pb.CheckExemplarResponse:  # noqa: N802
        """Check an image as enrolling would, and store nothing."""
        gallery = names.parse_gallery("gallery", request.gallery) if request.gallery else None
        if request.class_id:
            names.check_class_id("class_id", request.class_id)
        image = parse_image("image", request.image)
        found = await self._dependencies.inspector.check_exemplar(gallery, image, request.class_id)
        return pb.CheckExemplarResponse(
            warnings=messages.warnings(found.warnings),
            nearest=[
                pb.NearestClass(class_id=near.class_id, display_name=near.display_name, distance=near.distance)
                for near in found.nearest
            ],
            exemplar=messages.exemplar(found.exemplar),
        )
