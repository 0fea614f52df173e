"""Enrolling: from exemplars' bytes to durable classes, with warnings about them.

The exemplars of one call are examined together and made one change, which the writer makes: so each is compared with
everything that was stored before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import structlog

from exemplar_encoder import EncodedImage, class_embedding
from exemplar_encoder.arrays import Floats
from exemplar_server.access.caller import Caller
from exemplar_server.access.limits import check_classes
from exemplar_server.batcher import EmbeddedImage
from exemplar_server.batches import answer_each
from exemplar_server.call import this_call
from exemplar_server.classifier import Classifier
from exemplar_server.errors import FailedPreconditionError, ServiceError, UnavailableError, invalid_field
from exemplar_server.exemplar_warnings import ExemplarWarning
from exemplar_server.inspection import ComparedClass, Inspector, described
from exemplar_server.store.gallery_store import SearchedGalleries
from exemplar_server.store.records import ClassRecord, Gallery, NewClass, NewExemplar, StoredClass
from exemplar_server.store.request import Request
from exemplar_server.writer import Writer

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Enrollment:
    """A class to be stored, with its images."""

    class_id: str
    images: Sequence[EncodedImage]
    display_name: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EnrolledClass:
    """A class as stored, and warnings that it may be hard to recognize."""

    record: ClassRecord
    replaced: bool
    warnings: list[ExemplarWarning]


@dataclass(frozen=True, slots=True)
class EnrolledBatch:
    """One result for each enrollment, in order, and the gallery's revision that holds them."""

    results: list[EnrolledClass | ServiceError]
    gallery_revision: int


@dataclass(frozen=True, slots=True)
class AddedExemplars:
    """A class with the exemplars added, warnings about it, and the gallery's revision that holds it."""

    record: ClassRecord
    warnings: list[ExemplarWarning]
    gallery_revision: int


@dataclass(frozen=True, slots=True)
class _Examined:
    """The exemplars of an enrollment, none of them twice, and the warnings about each by itself."""

    enrollment: Enrollment
    exemplars: list[NewExemplar]
    warnings: list[ExemplarWarning]

    def new_class(self) -> NewClass:
        of = self.enrollment
        return NewClass(of.class_id, self.exemplars, of.display_name, of.attributes)

    def compared(self, embedding: Floats) -> ComparedClass:
        names = [item.exemplar.sha256 for item in self.exemplars]
        return ComparedClass(self.enrollment.class_id, embedding, names)


class Enroller:
    """Changes the classes of galleries that are of the classifier's model."""

    def __init__(self, classifier: Classifier, inspector: Inspector, writer: Writer) -> None:
        self._classifier = classifier
        self._inspector = inspector
        self.writer = writer

    async def enroll(
        self,
        gallery_id: str,
        enrollments: Sequence[Enrollment | ServiceError],
        strict: bool = False,
        request: Request[EnrolledBatch] | None = None,
    ) -> EnrolledBatch:
        """Store some classes; the valid ones in one transaction, and of two with the same id the last.

        Args:
            gallery_id: the gallery.
            enrollments: what to store; ids, names and attributes are taken as valid, and errors stay in their places.
                Of an image given twice for a class one is stored.
            strict: refuse an exemplar that has warnings.
            request: see `GalleryStore`.
        """
        gallery = await self._classifier.gallery(gallery_id)
        counted = [_check_count(gallery, item) if isinstance(item, Enrollment) else item for item in enrollments]
        examined = await answer_each(Enrollment, counted, self._examine)
        images = sum(len(item.exemplars) for item in examined if isinstance(item, _Examined))
        caller = this_call().who

        return await self.writer.change(
            gallery.id, lambda store: self._put(store, gallery, examined, strict, caller, request), request, images
        )

    async def add_exemplars(
        self,
        gallery_id: str,
        class_id: str,
        images: Sequence[EncodedImage],
        strict: bool = False,
        request: Request[AddedExemplars] | None = None,
    ) -> AddedExemplars:
        """Add exemplars to a class, all of them or none; one that it has already stays as it is.

        Args:
            gallery_id: the gallery.
            class_id: the class.
            images: the exemplars' images.
            strict: refuse exemplars that have warnings.
            request: see `GalleryStore`.

        Raises:
            ServiceError: there is no such class, an image cannot be used, the class would hold too many, or `strict`
                and warnings; nothing was changed.
        """
        gallery = await self._classifier.gallery(gallery_id)
        counted = _check_count(gallery, Enrollment(class_id, images))
        (examined,) = await answer_each(Enrollment, [counted], self._examine)
        if isinstance(examined, ServiceError):
            raise examined
        return await self.writer.change(
            gallery.id, lambda store: self._add(store, gallery, examined, strict, request), request, len(images)
        )

    async def _examine(self, enrollments: Sequence[Enrollment]) -> list[_Examined | ServiceError]:
        """Embed the images of all enrollments together, and look at each."""
        images = [image for enrollment in enrollments for image in enrollment.images]
        embedded = iter(await self._classifier.embed(images, inspected=True))
        return [_examined(enrollment, [next(embedded) for _ in enrollment.images]) for enrollment in enrollments]

    def _put(
        self,
        store: SearchedGalleries,
        gallery: Gallery,
        items: Sequence[_Examined | ServiceError],
        strict: bool,
        caller: Caller,
        request: Request[EnrolledBatch] | None,
    ) -> EnrolledBatch:
        """Run in the writer's thread."""
        warnings = self._compare(store, gallery, items, strict)
        results: dict[int, EnrolledClass | ServiceError] = {}
        kept: dict[int, NewClass] = {}
        for index, item in enumerate(items):
            if isinstance(item, ServiceError):
                results[index] = item
            elif strict and warnings[index]:
                class_id = item.enrollment.class_id
                results[index] = _refused(f"class {class_id!r} was not enrolled", class_id, warnings[index])
            else:
                kept[index] = item.new_class()
        check_classes(caller, store, gallery.id, {item.id for item in kept.values()})

        def batch(stored: tuple[list[StoredClass], int]) -> EnrolledBatch:
            for index, item in zip(kept, stored[0], strict=True):
                results[index] = EnrolledClass(item.record, item.replaced, warnings[index])
            return EnrolledBatch([results[index] for index in range(len(items))], stored[1])

        after = None if request is None else request.after(batch)
        return batch(store.put_classes(gallery.id, list(kept.values()), after))

    def _compare(
        self, store: SearchedGalleries, gallery: Gallery, items: Sequence[_Examined | ServiceError], strict: bool
    ) -> dict[int, list[ExemplarWarning]]:
        """Return all warnings about each item that is no error, by its index."""
        examined = {index: item for index, item in enumerate(items) if isinstance(item, _Examined)}
        if not examined:
            return {}
        classes = [item.compared(item.new_class().embedding()) for item in examined.values()]
        compared = self._neighbors(store, gallery, classes, strict)
        return {index: item.warnings + found for (index, item), found in zip(examined.items(), compared, strict=True)}

    def _neighbors(
        self,
        store: SearchedGalleries,
        gallery: Gallery,
        classes: Sequence[ComparedClass],
        strict: bool,
    ) -> list[list[ExemplarWarning]]:
        """See `Inspector.compare`; an index that is away keeps only those from enrolling who insist on an answer."""
        try:
            return self._inspector.compare(store, gallery, classes)
        except UnavailableError as error:
            if strict:
                raise
            _log.warning("enrolled without a look at the neighbors", gallery=gallery.id, reason=error.message)
            return [[] for _ in classes]

    def _add(
        self,
        store: SearchedGalleries,
        gallery: Gallery,
        examined: _Examined,
        strict: bool,
        request: Request[AddedExemplars] | None,
    ) -> AddedExemplars:
        """Run in the writer's thread."""
        class_id = examined.enrollment.class_id
        together = store.exemplar_embeddings(gallery.id, class_id)
        for item in examined.exemplars:
            together.setdefault(item.exemplar.sha256, item.embedding)
        compared = examined.compared(class_embedding(np.stack(list(together.values()))))
        warnings = examined.warnings + self._neighbors(store, gallery, [compared], strict)[0]
        if strict and warnings:
            raise _refused(f"class {class_id!r} was not changed", class_id, warnings)

        def added(changed: tuple[ClassRecord, int]) -> AddedExemplars:
            return AddedExemplars(changed[0], warnings, changed[1])

        after = None if request is None else request.after(added)
        return added(store.add_exemplars(gallery.id, class_id, examined.exemplars, after))


def _check_count(gallery: Gallery, enrollment: Enrollment) -> Enrollment | ServiceError:
    """Return the enrollment, or an error where it has no images or more than the gallery allows."""
    count, most = len(enrollment.images), gallery.most_exemplars
    if count == 0:
        return invalid_field("images", "at least one is needed")
    if count > most:
        return invalid_field(
            "images",
            f"gallery {gallery.id!r} takes at most {most} a class, not {count} exemplars; "
            "give fewer, or raise its max_exemplars_per_class",
        )
    return enrollment


def _examined(enrollment: Enrollment, items: Sequence[EmbeddedImage | ServiceError]) -> _Examined | ServiceError:
    """Return a class's images as exemplars; or the error of the first bad one."""
    exemplars: dict[str, NewExemplar] = {}
    warnings: list[ExemplarWarning] = []
    for index, (image, item) in enumerate(zip(enrollment.images, items, strict=True)):
        if isinstance(item, ServiceError):
            field = item.metadata["field"].replace("image", f"images[{index}]", 1)
            message = item.message.removeprefix(item.metadata["field"])
            return type(item)(item.reason, field + message, {**item.metadata, "field": field})
        new = described(image, item)
        if new.exemplar.sha256 not in exemplars:
            exemplars[new.exemplar.sha256] = new
            warnings += item.warnings
    return _Examined(enrollment, list(exemplars.values()), warnings)


def _refused(problem: str, class_id: str, warnings: Sequence[ExemplarWarning]) -> FailedPreconditionError:
    kinds = ",".join(sorted({str(warning.kind) for warning in warnings}))
    reasons = "; ".join(warning.message for warning in warnings)
    return FailedPreconditionError(
        "EXEMPLAR_REFUSED", f"{problem}: {reasons}", {"class": class_id, "warnings": kinds}
    )
