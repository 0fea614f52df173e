"""Every request of the API as a value: what to send, and how to read the answer.

The synchronous and the asyncio client send these and add nothing of their own, so a method behaves the same in both.
Bulk requests, which become several calls, are in `bulk`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Generic, TypeVar, cast

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from exemplar import conversion, results
from exemplar.conversion import class_name, gallery_name, model_name
from exemplar.images import Image, encoded
from exemplar.v1 import classification_service_pb2 as classification_pb
from exemplar.v1 import gallery_service_pb2 as gallery_pb
from exemplar.v1 import model_service_pb2 as model_pb
from exemplar.v1 import resources_pb2 as resources_pb

Result = TypeVar("Result")
Item = TypeVar("Item")

_PAGE_SIZE = 500


@dataclass(frozen=True)
class Call(Generic[Result]):
    """One request: the service and method it goes to, the message, and the reader of the response."""

    service: str
    method: str
    request: Message
    read: Callable[[Any], Result]


@dataclass(frozen=True)
class Page(Generic[Item]):
    """Part of a list, and the token of the next part; empty on the last."""

    items: list[Item]
    next_token: str


class Keep(Enum):
    """The value of a field that an update leaves as it is (None means: back to the default)."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP


def query(image: Image | results.Embedding) -> resources_pb.Query:
    """Builds a query from an image or an embedding made before."""
    if isinstance(image, results.Embedding):
        model = model_name(image.model) if image.model else ""
        return resources_pb.Query(embedding=resources_pb.Embedding(values=image.values, model=model))
    return resources_pb.Query(image=encoded(image))


def several(images: Image | Sequence[Image]) -> Sequence[Image]:
    """Returns one image, or several, as a sequence."""
    return images if isinstance(images, list | tuple) else [cast(Image, images)]


def enrollment(wanted: results.Enrollment) -> gallery_pb.Enrollment:
    """Builds an enrollment; reads its image files."""
    return gallery_pb.Enrollment(
        class_id=wanted.class_id,
        display_name=wanted.display_name,
        attributes=wanted.attributes,
        images=[encoded(image) for image in several(wanted.images)],
    )


def classification_options(
    top_k: int | None, false_accept_rate: float | None, model: str | None
) -> classification_pb.ClassificationOptions:
    """Builds the options of a classification; None leaves the choice to the server."""
    return classification_pb.ClassificationOptions(
        top_k=top_k, false_accept_rate=false_accept_rate, model=model_name(model) if model else ""
    )


def classify(
    gallery: str,
    image: Image | results.Embedding,
    options: classification_pb.ClassificationOptions,
) -> Call[results.Classification]:
    """Names one query."""
    request = classification_pb.ClassifyRequest(gallery=gallery_name(gallery), query=query(image), options=options)
    return Call(
        "ClassificationService",
        "Classify",
        request,
        lambda response: conversion.classification(response.classification),
    )


def embed(image: Image) -> Call[results.Embedding]:
    """Embeds one image."""
    request = classification_pb.EmbedRequest(image=encoded(image))
    return Call("ClassificationService", "Embed", request, lambda response: conversion.embedding(response.embedding))


def create_gallery(
    gallery: str, display_name: str, false_accept_rate: float | None, max_exemplars_per_class: int | None
) -> Call[results.Gallery]:
    """Creates an empty gallery."""
    wanted = resources_pb.Gallery(
        display_name=display_name,
        false_accept_rate=false_accept_rate,
        max_exemplars_per_class=max_exemplars_per_class,
    )
    return _gallery_call("CreateGallery", gallery_pb.CreateGalleryRequest(gallery_id=gallery, gallery=wanted))


def get_gallery(gallery: str) -> Call[results.Gallery]:
    """Reads a gallery."""
    return _gallery_call("GetGallery", gallery_pb.GetGalleryRequest(name=gallery_name(gallery)))


def galleries(token: str) -> Call[Page[results.Gallery]]:
    """Lists galleries, from a page token on."""
    return Call(
        "GalleryService",
        "ListGalleries",
        gallery_pb.ListGalleriesRequest(page_size=_PAGE_SIZE, page_token=token),
        lambda response: Page([conversion.gallery(each) for each in response.galleries], response.next_page_token),
    )


def update_gallery(
    gallery: str,
    display_name: str | Keep,
    false_accept_rate: float | Keep | None,
    max_exemplars_per_class: int | Keep | None,
    calibration: results.Calibration | Keep | None,
) -> Call[results.Gallery]:
    """Changes the fields that are not KEEP."""
    values = _changes(
        display_name=display_name,
        false_accept_rate=false_accept_rate,
        max_exemplars_per_class=max_exemplars_per_class,
        calibration=(
            conversion.calibration_message(calibration)
            if isinstance(calibration, results.Calibration)
            else calibration
        ),
    )
    request = gallery_pb.UpdateGalleryRequest(
        gallery=resources_pb.Gallery(name=gallery_name(gallery), **values),
        update_mask=FieldMask(paths=list(values)),
    )
    return _gallery_call("UpdateGallery", request)


def delete_gallery(gallery: str, force: bool) -> Call[None]:
    """Deletes a gallery."""
    request = gallery_pb.DeleteGalleryRequest(name=gallery_name(gallery), force=force)
    return Call("GalleryService", "DeleteGallery", request, lambda _: None)


def enroll(gallery: str, wanted: results.Enrollment, strict: bool) -> Call[results.Enrolled]:
    """Stores a class."""
    request = gallery_pb.EnrollClassRequest(
        gallery=gallery_name(gallery), enrollment=enrollment(wanted), strict=strict
    )
    return Call("GalleryService", "EnrollClass", request, conversion.enrolled)


def get_class(gallery: str, class_id: str) -> Call[results.Class]:
    """Reads a class."""
    return _class_call("GetClass", gallery_pb.GetClassRequest(name=class_name(gallery, class_id)))


def classes(gallery: str) -> Callable[[str], Call[Page[results.Class]]]:
    """Lists a gallery's classes; the function returned takes a page token."""
    return lambda token: Call(
        "GalleryService",
        "ListClasses",
        gallery_pb.ListClassesRequest(gallery=gallery_name(gallery), page_size=_PAGE_SIZE, page_token=token),
        lambda response: Page([conversion.class_(each) for each in response.classes], response.next_page_token),
    )


def update_class(
    gallery: str, class_id: str, display_name: str | Keep, attributes: Mapping[str, str] | Keep
) -> Call[results.Class]:
    """Changes the fields that are not KEEP."""
    values = _changes(display_name=display_name, attributes=attributes)
    # `class` is a Python keyword, so it is only reached by name.
    changed = {"class": resources_pb.Class(name=class_name(gallery, class_id), **values)}
    request = gallery_pb.UpdateClassRequest(**changed, update_mask=FieldMask(paths=list(values)))
    return _class_call("UpdateClass", request)


def delete_class(gallery: str, class_id: str) -> Call[int]:
    """Deletes a class; the result is the gallery's new revision."""
    request = gallery_pb.DeleteClassRequest(name=class_name(gallery, class_id))
    return Call("GalleryService", "DeleteClass", request, lambda response: int(response.gallery_revision))


def add_exemplars(
    gallery: str, class_id: str, images: Image | Sequence[Image], strict: bool
) -> Call[results.ExemplarsAdded]:
    """Adds exemplars to a class; reads their image files."""
    contents = [encoded(image) for image in several(images)]
    request = gallery_pb.AddExemplarsRequest(class_name=class_name(gallery, class_id), images=contents, strict=strict)
    return Call("GalleryService", "AddExemplars", request, conversion.exemplars_added)


def remove_exemplar(gallery: str, class_id: str, sha256: str) -> Call[results.ExemplarRemoved]:
    """Removes an exemplar of a class."""
    request = gallery_pb.RemoveExemplarRequest(class_name=class_name(gallery, class_id), sha256=sha256)
    return Call("GalleryService", "RemoveExemplar", request, conversion.exemplar_removed)


def exemplar_image(gallery: str, class_id: str, index: int) -> Call[bytes]:
    """Reads an exemplar's image."""
    request = gallery_pb.GetExemplarImageRequest(class_name=class_name(gallery, class_id), index=index)
    return Call("GalleryService", "GetExemplarImage", request, lambda response: bytes(response.image))


def check(image: Image, gallery: str | None, class_id: str) -> Call[results.ExemplarCheck]:
    """Looks at an image as an exemplar would be looked at."""
    name = gallery_name(gallery) if gallery else ""
    request = gallery_pb.CheckExemplarRequest(gallery=name, image=encoded(image), class_id=class_id)
    return Call("GalleryService", "CheckExemplar", request, conversion.check)


def diagnose(gallery: str, max_pairs: int | None) -> Call[results.Diagnosis]:
    """Finds the pairs of classes most easily confused."""
    request = gallery_pb.DiagnoseGalleryRequest(name=gallery_name(gallery), max_pairs=max_pairs or 0)
    return Call("GalleryService", "DiagnoseGallery", request, conversion.diagnosis)


def models(token: str) -> Call[Page[results.Model]]:
    """Lists the loaded models, from a page token on."""
    return Call(
        "ModelService",
        "ListModels",
        model_pb.ListModelsRequest(page_size=_PAGE_SIZE, page_token=token),
        lambda response: Page([conversion.model(each) for each in response.models], response.next_page_token),
    )


def get_model(model: str) -> Call[results.Model]:
    """Reads a model."""
    request = model_pb.GetModelRequest(name=model_name(model))
    return Call("ModelService", "GetModel", request, lambda response: conversion.model(response.model))


def _gallery_call(method: str, request: Message) -> Call[results.Gallery]:
    return Call("GalleryService", method, request, lambda response: conversion.gallery(response.gallery))


def _class_call(method: str, request: Message) -> Call[results.Class]:
    return Call("GalleryService", method, request, lambda response: conversion.class_(getattr(response, "class")))


def _changes(**fields: object) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not KEEP}
