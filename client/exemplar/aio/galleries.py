"""Requests that keep galleries."""

from __future__ import annotations

from collections.abc import AsyncIterator

from google.protobuf.field_mask_pb2 import FieldMask

from exemplar import conversion, names, requests
from exemplar.aio.connection import AsyncConnection
from exemplar.requests import KEEP, Keep
from exemplar.results import Calibration, Diagnosis, Gallery
from exemplar.v1 import gallery_service_pb2 as pb
from exemplar.v1 import resources_pb2 as resources_pb


class GalleryRequests(AsyncConnection):
    """The client's methods for galleries."""

    async def create_gallery(
        self,
        gallery: str,
        *,
        display_name: str = "",
        false_accept_rate: float | None = None,
        max_exemplars_per_class: int | None = None,
        timeout: float | None = None,
    ) -> Gallery:
        """Create an empty gallery; `AlreadyExistsError` when there is one of that id.

        Args:
            gallery: Id, 1 to 63 of a-z, 0-9 and '-'.
            display_name: A name for people.
            false_accept_rate: The rate that the UNKNOWN threshold is set for, between 0 and 1; None for the model's.
            max_exemplars_per_class: 1 to 16; None for 1.
            timeout: Deadline in seconds; None for the client's.
        """
        wanted = resources_pb.Gallery(
            display_name=display_name,
            false_accept_rate=false_accept_rate,
            max_exemplars_per_class=max_exemplars_per_class,
        )
        request = pb.CreateGalleryRequest(gallery_id=gallery, gallery=wanted, request_id=requests.request_id())
        response = await self._call(self._open().galleries.CreateGallery, request, timeout)
        return conversion.gallery(response.gallery)

    async def get_gallery(self, gallery: str, *, timeout: float | None = None) -> Gallery:
        """Read a gallery."""
        request = pb.GetGalleryRequest(name=names.gallery_name(gallery))
        response = await self._call(self._open().galleries.GetGallery, request, timeout)
        return conversion.gallery(response.gallery)

    async def galleries(self, *, timeout: float | None = None) -> AsyncIterator[Gallery]:
        """Yield the galleries by id, fetching pages as they are needed."""
        request = pb.ListGalleriesRequest(page_size=requests.PAGE_SIZE)
        async for page in self._pages(self._open().galleries.ListGalleries, request, timeout):
            for each in page.galleries:
                yield conversion.gallery(each)

    async def update_gallery(
        self,
        gallery: str,
        *,
        display_name: str | Keep = KEEP,
        false_accept_rate: float | Keep | None = KEEP,
        max_exemplars_per_class: int | Keep | None = KEEP,
        calibration: Calibration | Keep | None = KEEP,
        etag: str = "",
        timeout: float | None = None,
    ) -> Gallery:
        """Change what is given and keep the rest; None returns a field to its default.

        Args:
            gallery: Id of the gallery.
            display_name: A name for people.
            false_accept_rate: As for `create_gallery`.
            max_exemplars_per_class: As for `create_gallery`.
            calibration: The gallery's own, fitted on queries of its own; None for the model's.
            etag: `Gallery.etag` as it was read; a gallery that was changed since raises `AbortedError`.
            timeout: Deadline in seconds; None for the client's.
        """
        values = requests.changes(
            display_name=display_name,
            false_accept_rate=false_accept_rate,
            max_exemplars_per_class=max_exemplars_per_class,
            calibration=requests.calibration(calibration) if isinstance(calibration, Calibration) else calibration,
        )
        request = pb.UpdateGalleryRequest(
            gallery=resources_pb.Gallery(name=names.gallery_name(gallery), etag=etag, **values),
            update_mask=FieldMask(paths=list(values)),
            request_id=requests.request_id(),
        )
        response = await self._call(self._open().galleries.UpdateGallery, request, timeout)
        return conversion.gallery(response.gallery)

    async def delete_gallery(
        self, gallery: str, *, force: bool = False, allow_missing: bool = False, timeout: float | None = None
    ) -> None:
        """Delete a gallery; one that holds classes only with `force` (else `FailedPreconditionError`).

        With `allow_missing`, a gallery that is not there is no error.
        """
        request = pb.DeleteGalleryRequest(
            name=names.gallery_name(gallery),
            force=force,
            allow_missing=allow_missing,
            request_id=requests.request_id(),
        )
        await self._call(self._open().galleries.DeleteGallery, request, timeout)

    async def diagnose(
        self, gallery: str, max_pairs: int | None = None, *, timeout: float | None = None
    ) -> Diagnosis:
        """Find the pairs of classes most easily confused: `max_pairs` of them, None for 20."""
        request = pb.DiagnoseGalleryRequest(name=names.gallery_name(gallery), max_pairs=max_pairs or 0)
        response = await self._call(self._open().galleries.DiagnoseGallery, request, timeout)
        return conversion.diagnosis(response)
