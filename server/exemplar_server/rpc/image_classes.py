"""`GalleryService`, the calls about classes: messages in, messages out."""

from __future__ import annotations

import asyncio

from exemplar.v1 import gallery_service_pb2 as pb
from exemplar.v1 import resources_pb2
from exemplar_server.batches import parse_each
from exemplar_server.enrollment import EnrolledBatch, Enrollment
from exemplar_server.errors import ServiceError, invalid_field
from exemplar_server.rpc import messages, names
from exemplar_server.rpc.dependencies import Context, Dependencies
from exemplar_server.rpc.images import parse_images
from exemplar_server.rpc.repeats import answer_once
from exemplar_server.rpc.status import to_status
from exemplar_server.store import ClassRecord, Request


class ImageClassCalls:
    """The calls of `GalleryService` that are about classes."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies

    async def EnrollClass(self, request: pb.EnrollClassRequest, context: Context) -> pb.EnrollClassResponse:  # noqa: N802
        """Store a class with its exemplars."""
        gallery = names.parse_gallery("gallery", request.gallery)
        enrollment = _enrollment("enrollment.", request.enrollment)

        def respond(batch: EnrolledBatch) -> pb.EnrollClassResponse:
            (result,) = batch.results
            if isinstance(result, ServiceError):
                raise result
            return messages.enrolled(result, gallery, batch.gallery_revision)

        async def change(repeatable: Request[EnrolledBatch] | None) -> EnrolledBatch:
            enroller = self._dependencies.enroller
            return await enroller.enroll(gallery, [enrollment], request.strict, repeatable)

        return await answer_once(self._dependencies.store, request, pb.EnrollClassResponse, change, respond)

    async def BatchEnrollClasses(  # noqa: N802
        self, request: pb.BatchEnrollClassesRequest, context: Context
    ) -> pb.BatchEnrollClassesResponse:
        """Store many classes."""
        gallery = names.parse_gallery("gallery", request.gallery)
        self._dependencies.check_batch("enrollments", request.enrollments)
        enrollments = parse_each(lambda message: _enrollment("", message), request.enrollments)

        def respond(batch: EnrolledBatch) -> pb.BatchEnrollClassesResponse:
            response = pb.BatchEnrollClassesResponse(gallery_revision=batch.gallery_revision)
            for result in batch.results:
                if isinstance(result, ServiceError):
                    response.results.add(error=to_status(result))
                else:
                    response.results.add(enrolled=messages.enrolled(result, gallery, batch.gallery_revision))
            return response

        async def change(repeatable: Request[EnrolledBatch] | None) -> EnrolledBatch:
            enroller = self._dependencies.enroller
            return await enroller.enroll(gallery, enrollments, request.strict, repeatable)

        return await answer_once(self._dependencies.store, request, pb.BatchEnrollClassesResponse, change, respond)

    async def GetClass(self, request: pb.GetClassRequest, context: Context) -> pb.GetClassResponse:  # noqa: N802
        """Read a class."""
        gallery, class_id = names.parse_class("name", request.name)
        store = self._dependencies.store
        model = await self._model(gallery) if _with_embedding(request.view) else None
        record = await asyncio.to_thread(store.get_class, gallery, class_id)
        return pb.GetClassResponse(image_class=messages.image_class(record, gallery, model))

    async def ListClasses(self, request: pb.ListClassesRequest, context: Context) -> pb.ListClassesResponse:  # noqa: N802
        """List the classes of a gallery by id."""
        gallery = names.parse_gallery("gallery", request.gallery)
        size, after = names.page(request.page_size, request.page_token)
        store = self._dependencies.store
        model = await self._model(gallery) if _with_embedding(request.view) else None
        records = await asyncio.to_thread(store.list_classes, gallery, after, size + 1)
        response = pb.ListClassesResponse()
        length = 0
        for record in records[:size]:
            message = messages.image_class(record, gallery, model)
            length += message.ByteSize()
            if response.classes and length > self._dependencies.page_bytes:
                break  # rather than grow past what a message may hold
            response.classes.append(message)
        if len(response.classes) < len(records):
            response.next_page_token = names.page_token(records[len(response.classes) - 1].id)
        return response

    async def UpdateClass(self, request: pb.UpdateClassRequest, context: Context) -> pb.UpdateClassResponse:  # noqa: N802
        """Change display name or attributes without touching the exemplars."""
        message = request.image_class
        gallery, class_id = names.parse_class("image_class.name", message.name)
        paths = set(request.update_mask.paths)
        if not paths or paths - {"display_name", "attributes"}:
            raise invalid_field("update_mask", "it must name display_name, attributes or both, and nothing else")
        display_name = names.check_display_name("image_class.display_name", message.display_name)
        attributes = names.check_attributes("image_class.attributes", message.attributes)
        store, writer = self._dependencies.store, self._dependencies.writer

        def respond(record: ClassRecord) -> pb.UpdateClassResponse:
            return pb.UpdateClassResponse(image_class=messages.image_class(record, gallery))

        async def change(repeatable: Request[ClassRecord] | None) -> ClassRecord:
            wanted = (
                gallery,
                class_id,
                display_name if "display_name" in paths else None,
                attributes if "attributes" in paths else None,
                message.etag,
            )
            return await writer.change(gallery, lambda group: group.update_class(*wanted, repeatable), repeatable)

        return await answer_once(store, request, pb.UpdateClassResponse, change, respond)

    async def DeleteClass(self, request: pb.DeleteClassRequest, context: Context) -> pb.DeleteClassResponse:  # noqa: N802
        """Delete a class."""
        gallery, class_id = names.parse_class("name", request.name)
        store, writer = self._dependencies.store, self._dependencies.writer

        def respond(revision: int) -> pb.DeleteClassResponse:
            return pb.DeleteClassResponse(gallery_revision=revision)

        async def change(repeatable: Request[int] | None) -> int:
            wanted = gallery, class_id, request.allow_missing
            return await writer.change(
                gallery, lambda group: group.delete_class(*wanted, repeatable), repeatable, frees=True
            )

        return await answer_once(store, request, pb.DeleteClassResponse, change, respond)

    async def _model(self, gallery: str) -> str:
        return (await asyncio.to_thread(self._dependencies.store.get_gallery, gallery)).model


def _with_embedding(view: resources_pb2.ClassView.ValueType) -> bool:
    if view not in resources_pb2.ClassView.values():
        raise invalid_field("view", f"there is no view {view}")
    return view == resources_pb2.CLASS_VIEW_EMBEDDING


def _enrollment(prefix: str, message: pb.Enrollment) -> Enrollment:
    return Enrollment(
        names.check_class_id(f"{prefix}class_id", message.class_id),
        parse_images(message.images),
        names.check_display_name(f"{prefix}display_name", message.display_name),
        names.check_attributes(f"{prefix}attributes", message.attributes),
    )
