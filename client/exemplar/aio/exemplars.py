"""Requests that add, remove, fetch and check exemplars."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from exemplar import conversion, names, requests
from exemplar.aio.connection import AsyncConnection
from exemplar.images import Image, several
from exemplar.results import ExemplarCheck, ExemplarRemoved, ExemplarsAdded
from exemplar.v1 import gallery_service_pb2 as pb


class ExemplarRequests(AsyncConnection):
    """The client's methods for exemplars."""

    async def add_exemplars(
        self,
        gallery: str,
        class_id: str,
        images: Image | Sequence[Image],
        *,
        strict: bool = False,
        timeout: float | None = None,
    ) -> ExemplarsAdded:
        """Add exemplars to a class, all of them or none; one that it has already stays as it is.

        Args:
            gallery: Id of the gallery, whose `max_exemplars_per_class` holds (else `FailedPreconditionError`).
            class_id: Id of the class.
            images: An image, or a list or tuple of several.
            strict: Refuse (`FailedPreconditionError`) exemplars that have warnings.
            timeout: Deadline in seconds; None for the client's.
        """
        request = pb.AddExemplarsRequest(
            class_name=names.class_name(gallery, class_id),
            images=await asyncio.to_thread(requests.images, several(images)),
            strict=strict,
            request_id=requests.request_id(),
        )
        return conversion.exemplars_added(await self._call(self._open().galleries.AddExemplars, request, timeout))

    async def remove_exemplar(
        self,
        gallery: str,
        class_id: str,
        sha256: str,
        *,
        allow_missing: bool = False,
        timeout: float | None = None,
    ) -> ExemplarRemoved:
        """Remove the exemplar of that SHA-256; a class's only one stays (`FailedPreconditionError`).

        With `allow_missing`, an exemplar that the class does not have is no error.
        """
        request = pb.RemoveExemplarRequest(
            class_name=names.class_name(gallery, class_id),
            sha256=sha256,
            allow_missing=allow_missing,
            request_id=requests.request_id(),
        )
        return conversion.exemplar_removed(await self._call(self._open().galleries.RemoveExemplar, request, timeout))

    async def exemplar_image(
        self, gallery: str, class_id: str, sha256: str, *, timeout: float | None = None
    ) -> bytes:
        """Return the image of the exemplar of that SHA-256 as it was sent, whole where a region is the exemplar."""
        request = pb.GetExemplarImageRequest(class_name=names.class_name(gallery, class_id), sha256=sha256)
        response = await self._call(self._open().galleries.GetExemplarImage, request, timeout)
        return response.image.content

    async def check(
        self,
        image: Image,
        *,
        gallery: str | None = None,
        class_id: str = "",
        timeout: float | None = None,
    ) -> ExemplarCheck:
        """Check an image as enrolling it would, and store nothing.

        Args:
            image: The would-be exemplar.
            gallery: Gallery whose classes it is compared with; None to look at the image alone.
            class_id: The class it is meant for; its present exemplars are not held against it.
            timeout: Deadline in seconds; None for the client's.
        """
        request = pb.CheckExemplarRequest(
            gallery=names.gallery_name(gallery) if gallery else "",
            image=await asyncio.to_thread(requests.image, image),
            class_id=class_id,
        )
        return conversion.check(await self._call(self._open().galleries.CheckExemplar, request, timeout))
