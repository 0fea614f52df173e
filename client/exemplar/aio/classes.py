"""Requests that enroll, read, change and delete classes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

from google.protobuf.field_mask_pb2 import FieldMask

from exemplar import conversion, names, requests
from exemplar.aio.connection import AsyncConnection
from exemplar.errors import ExemplarError
from exemplar.images import Image
from exemplar.requests import KEEP, Keep
from exemplar.results import Enrolled, Enrollment, ImageClass
from exemplar.v1 import gallery_service_pb2 as pb
from exemplar.v1 import resources_pb2 as resources_pb


class ClassRequests(AsyncConnection):
    """The client's methods for classes."""

    async def enroll(
        self,
        gallery: str,
        class_id: str,
        images: Image | Sequence[Image],
        *,
        display_name: str = "",
        attributes: Mapping[str, str] | None = None,
        strict: bool = False,
        timeout: float | None = None,
    ) -> Enrolled:
        """Store a class; one of the same id is replaced whole.

        Args:
            gallery: Id of the gallery.
            class_id: The caller's own id, 1 to 128 characters without '/'.
            images: The exemplar; a list or tuple of several where the gallery allows it.
            display_name: A name for people.
            attributes: Facts to be returned with each match.
            strict: Refuse (`FailedPreconditionError`) an exemplar that has warnings.
            timeout: Deadline in seconds; None for the client's.
        """
        wanted = Enrollment(class_id, images, display_name, attributes or {})
        request = pb.EnrollClassRequest(
            gallery=names.gallery_name(gallery),
            enrollment=await asyncio.to_thread(requests.enrollment, wanted),
            strict=strict,
            request_id=requests.request_id(),
        )
        return conversion.enrolled(await self._call(self._open().galleries.EnrollClass, request, timeout))

    async def enroll_many(
        self,
        gallery: str,
        enrollments: Iterable[Enrollment],
        *,
        strict: bool = False,
        timeout: float | None = None,
    ) -> list[Enrolled | ExemplarError]:
        """Store many classes, in batches, each with the deadline; of two with one id the last counts.

        Returns:
            One entry an enrollment, in order: what was stored, or the error (not raised) that kept it out.
        """
        await asyncio.to_thread(requests.require_images, enrollments)
        return await self._batches(
            self._open().galleries.BatchEnrollClasses,
            (requests.enrollment(wanted) for wanted in enrollments),
            lambda batch: pb.BatchEnrollClassesRequest(
                gallery=names.gallery_name(gallery),
                enrollments=batch,
                strict=strict,
                request_id=requests.request_id(),
            ),
            lambda entry: conversion.enrolled(entry.enrolled),
            timeout,
        )

    async def get_class(
        self, gallery: str, class_id: str, *, embedding: bool = False, timeout: float | None = None
    ) -> ImageClass:
        """Read a class; with `embedding`, also what is searched for it."""
        request = pb.GetClassRequest(name=names.class_name(gallery, class_id), view=requests.view(embedding))
        response = await self._call(self._open().galleries.GetClass, request, timeout)
        return conversion.image_class(response.image_class)

    async def classes(
        self, gallery: str, *, embeddings: bool = False, timeout: float | None = None
    ) -> AsyncIterator[ImageClass]:
        """Yield a gallery's classes by id, fetching pages as they are needed; with `embeddings`, as `get_class`."""
        request = pb.ListClassesRequest(
            gallery=names.gallery_name(gallery), page_size=requests.PAGE_SIZE, view=requests.view(embeddings)
        )
        async for page in self._pages(self._open().galleries.ListClasses, request, timeout):
            for each in page.classes:
                yield conversion.image_class(each)

    async def update_class(
        self,
        gallery: str,
        class_id: str,
        *,
        display_name: str | Keep = KEEP,
        attributes: Mapping[str, str] | Keep = KEEP,
        etag: str = "",
        timeout: float | None = None,
    ) -> ImageClass:
        """Change what is given (attributes are replaced whole) and leave the exemplars alone.

        Args:
            gallery: Id of the gallery.
            class_id: Id of the class.
            display_name: A name for people.
            attributes: Facts to be returned with each match.
            etag: `ImageClass.etag` as it was read; a class that was changed since raises `AbortedError`.
            timeout: Deadline in seconds; None for the client's.
        """
        values = requests.changes(display_name=display_name, attributes=attributes)
        request = pb.UpdateClassRequest(
            image_class=resources_pb.ImageClass(name=names.class_name(gallery, class_id), etag=etag, **values),
            update_mask=FieldMask(paths=list(values)),
            request_id=requests.request_id(),
        )
        response = await self._call(self._open().galleries.UpdateClass, request, timeout)
        return conversion.image_class(response.image_class)

    async def delete_class(
        self, gallery: str, class_id: str, *, allow_missing: bool = False, timeout: float | None = None
    ) -> int:
        """Delete a class; return the gallery's revision that does not hold it.

        With `allow_missing`, a class that is not there is no error.
        """
        request = pb.DeleteClassRequest(
            name=names.class_name(gallery, class_id),
            allow_missing=allow_missing,
            request_id=requests.request_id(),
        )
        response = await self._call(self._open().galleries.DeleteClass, request, timeout)
        return response.gallery_revision
