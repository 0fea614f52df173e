"""`GalleryService`, the part about classes: messages in, messages out."""

from __future__ import annotations

import asyncio

from exemplar.v1 import gallery_service_pb2 as pb
from exemplar_server.enrollment import Enrollment
from exemplar_server.errors import ServiceError, invalid_field
from exemplar_server.rpc import convert, names
from exemplar_server.rpc.application import Application, Context
from exemplar_server.rpc.status import to_status
from exemplar_server.store import GalleryStore

# A page ends early rather than grow past what a message may hold.
_PAGE_BYTES = 8 * 1024 * 1024


class ClassMethods:
    """The methods of `GalleryService` that are about classes."""

    def __init__(self, application: Application) -> None:
        self._application = application

    @property
    def _store(self) -> GalleryStore:
        return self._application.classifier.store

    async def EnrollClass(self, request: pb.EnrollClassRequest, context: Context) -> pb.EnrollClassResponse:  # noqa: N802
        """Stores a class with its exemplars."""
        gallery = names.parse_gallery("gallery", request.gallery)
        enrollment = _enrollment("enrollment.", request.enrollment)
        (result,), revision = await self._application.enroller.enroll(gallery, [enrollment], request.strict)
        if isinstance(result, ServiceError):
            raise result
        return convert.enrolled(result, gallery, revision)

    async def BatchEnrollClasses(  # noqa: N802
        self, request: pb.BatchEnrollClassesRequest, context: Context
    ) -> pb.BatchEnrollClassesResponse:
        """Stores many classes."""
        gallery = names.parse_gallery("gallery", request.gallery)
        self._application.check_batch("enrollments", request.enrollments)
        items: list[Enrollment | ServiceError] = []
        for message in request.enrollments:
            try:
                items.append(_enrollment("", message))
            except ServiceError as error:
                items.append(error)
        usable = [item for item in items if isinstance(item, Enrollment)]
        results, revision = await self._application.enroller.enroll(gallery, usable, request.strict)
        answers = iter(results)
        response = pb.BatchEnrollClassesResponse(gallery_revision=revision)
        for item in items:
            result = item if isinstance(item, ServiceError) else next(answers)
            if isinstance(result, ServiceError):
                response.results.add(error=to_status(result))
            else:
                response.results.add(enrolled=convert.enrolled(result, gallery, revision))
        return response

    async def GetClass(self, request: pb.GetClassRequest, context: Context) -> pb.GetClassResponse:  # noqa: N802
        """Reads a class."""
        gallery, class_id = names.parse_class("name", request.name)
        record = await asyncio.to_thread(self._store.get_class, gallery, class_id)
        response = pb.GetClassResponse()
        getattr(response, "class").CopyFrom(convert.class_message(record, gallery))
        return response

    async def ListClasses(self, request: pb.ListClassesRequest, context: Context) -> pb.ListClassesResponse:  # noqa: N802
        """Lists the classes of a gallery by id."""
        gallery = names.parse_gallery("gallery", request.gallery)
        size, after = names.page(request.page_size, request.page_token)
        records = await asyncio.to_thread(self._store.list_classes, gallery, after, size + 1)
        response = pb.ListClassesResponse()
        length = 0
        for record in records[:size]:
            message = convert.class_message(record, gallery)
            length += message.ByteSize()
            if response.classes and length > _PAGE_BYTES:
                break
            response.classes.append(message)
        if len(response.classes) < len(records):
            response.next_page_token = names.page_token(records[len(response.classes) - 1].id)
        return response

    async def UpdateClass(self, request: pb.UpdateClassRequest, context: Context) -> pb.UpdateClassResponse:  # noqa: N802
        """Changes display name or attributes without touching the exemplars."""
        message = getattr(request, "class")
        gallery, class_id = names.parse_class("class.name", message.name)
        paths = set(request.update_mask.paths)
        if not paths or paths - {"display_name", "attributes"}:
            raise invalid_field("update_mask", "it must name display_name, attributes or both, and nothing else")
        display_name = names.check_display_name("class.display_name", message.display_name)
        attributes = names.check_attributes("class.attributes", message.attributes)
        record = await asyncio.to_thread(
            self._store.update_class,
            gallery,
            class_id,
            display_name if "display_name" in paths else None,
            attributes if "attributes" in paths else None,
        )
        response = pb.UpdateClassResponse()
        getattr(response, "class").CopyFrom(convert.class_message(record, gallery))
        return response

    async def DeleteClass(self, request: pb.DeleteClassRequest, context: Context) -> pb.DeleteClassResponse:  # noqa: N802
        """Deletes a class."""
        gallery, class_id = names.parse_class("name", request.name)
        revision = await asyncio.to_thread(self._store.delete_class, gallery, class_id)
        return pb.DeleteClassResponse(gallery_revision=revision)

    async def AddExemplars(self, request: pb.AddExemplarsRequest, context: Context) -> pb.AddExemplarsResponse:  # noqa: N802
        """Adds exemplars to a class."""
        gallery, class_id = names.parse_class("class_name", request.class_name)
        added = await self._application.enroller.add_exemplars(gallery, class_id, request.images, request.strict)
        response = pb.AddExemplarsResponse(
            warnings=convert.warnings(added.warnings), gallery_revision=added.gallery_revision
        )
        getattr(response, "class").CopyFrom(convert.class_message(added.record, gallery))
        return response

    async def RemoveExemplar(self, request: pb.RemoveExemplarRequest, context: Context) -> pb.RemoveExemplarResponse:  # noqa: N802
        """Removes an exemplar of a class."""
        gallery, class_id = names.parse_class("class_name", request.class_name)
        digest = names.check_sha256("sha256", request.sha256)
        record, revision = await asyncio.to_thread(self._store.remove_exemplar, gallery, class_id, digest)
        response = pb.RemoveExemplarResponse(gallery_revision=revision)
        getattr(response, "class").CopyFrom(convert.class_message(record, gallery))
        return response

    async def GetExemplarImage(  # noqa: N802
        self, request: pb.GetExemplarImageRequest, context: Context
    ) -> pb.GetExemplarImageResponse:
        """Returns an exemplar's image as it was sent."""
        gallery, class_id = names.parse_class("class_name", request.class_name)
        image, exemplar = await asyncio.to_thread(self._store.exemplar_image, gallery, class_id, request.index)
        return pb.GetExemplarImageResponse(image=image, exemplar=convert.exemplar(exemplar))

    async def CheckExemplar(self, request: pb.CheckExemplarRequest, context: Context) -> pb.CheckExemplarResponse:  # noqa: N802
        """Looks at an image as an exemplar would be looked at, and stores nothing."""
        gallery = names.parse_gallery("gallery", request.gallery) if request.gallery else None
        if request.class_id:
            names.check_class_id("class_id", request.class_id)
        found = await self._application.advisor.check(gallery, request.image, request.class_id)
        return pb.CheckExemplarResponse(
            warnings=convert.warnings(found.warnings),
            nearest=[
                pb.NearestClass(class_id=near.class_id, display_name=near.display_name, distance=near.distance)
                for near in found.nearest
            ],
            exemplar=convert.exemplar(found.exemplar),
        )


def _enrollment(prefix: str, message: pb.Enrollment) -> Enrollment:
    return Enrollment(
        names.check_class_id(f"{prefix}class_id", message.class_id),
        message.images,
        names.check_display_name(f"{prefix}display_name", message.display_name),
        names.check_attributes(f"{prefix}attributes", message.attributes),
    )
