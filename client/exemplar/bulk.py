"""Many items at once, as a stream of batch calls within the server's limits.

Each function yields steps in the items' order: a `Call` whose result is one entry an item, or an `ItemError` for an
item that is too large to be sent at all. Files are read as their batch is built, so memory holds one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias, TypeVar

from google.protobuf.message import Message

from exemplar import calls, conversion, results
from exemplar.batching import MAX_ITEM_BYTES, Item, batches, size_of
from exemplar.calls import Call
from exemplar.errors import ItemError, item_error
from exemplar.images import Image, encoded, require_file
from exemplar.v1 import classification_service_pb2 as classification_pb
from exemplar.v1 import gallery_service_pb2 as gallery_pb

Result = TypeVar("Result")
Step: TypeAlias = Call[list[Result | ItemError]] | ItemError


def classify(
    gallery: str,
    images: Iterable[Image | results.Embedding],
    options: classification_pb.ClassificationOptions,
) -> Iterator[Step[results.Classification]]:
    """Names many queries.

    Raises:
        FileNotFoundError: An image named by its path is not there; nothing was sent when `images` is a sequence.
    """
    _require_files(images)
    return _steps(
        (calls.query(image) for image in images),
        lambda queries: classification_pb.BatchClassifyRequest(
            gallery=conversion.gallery_name(gallery), queries=queries, options=options
        ),
        partial(Call, "ClassificationService", "BatchClassify"),
        lambda entry: conversion.classification(entry.classification),
    )


def embed(images: Iterable[Image]) -> Iterator[Step[results.Embedding]]:
    """Embeds many images; errors as `classify`."""
    _require_files(images)
    return _steps(
        (encoded(image) for image in images),
        lambda contents: classification_pb.BatchEmbedRequest(images=contents),
        partial(Call, "ClassificationService", "BatchEmbed"),
        lambda entry: conversion.embedding(entry.embedding),
    )


def enroll(gallery: str, enrollments: Iterable[results.Enrollment], strict: bool) -> Iterator[Step[results.Enrolled]]:
    """Stores many classes; errors as `classify`."""
    if isinstance(enrollments, Sequence):
        for wanted in enrollments:
            _require_files(calls.several(wanted.images))
    return _steps(
        (calls.enrollment(wanted) for wanted in enrollments),
        lambda items: gallery_pb.BatchEnrollClassesRequest(
            gallery=conversion.gallery_name(gallery), enrollments=items, strict=strict
        ),
        partial(Call, "GalleryService", "BatchEnrollClasses"),
        lambda entry: conversion.enrolled(entry.enrolled),
    )


def _steps(
    items: Iterable[Item],
    request: Callable[[list[Item]], Message],
    call: Callable[[Message, Callable[[Any], Any]], Call[Any]],
    value: Callable[[Any], Result],
) -> Iterator[Step[Result]]:
    def read(response: Any) -> list[Result | ItemError]:
        return [item_error(entry.error) if entry.HasField("error") else value(entry) for entry in response.results]

    for batch in batches(items):
        if size_of(batch[0]) > MAX_ITEM_BYTES:
            yield _too_large(batch[0])
        else:
            yield call(request(batch), read)


def _too_large(item: Message | bytes) -> ItemError:
    return ItemError(
        "RESOURCE_EXHAUSTED",
        "MESSAGE_TOO_LARGE",
        f"{size_of(item):,} bytes are more than a message may hold ({MAX_ITEM_BYTES:,})",
    )


def _require_files(images: Iterable[object]) -> None:
    # A generator can only be drawn once, so its files are first looked at when their turn comes.
    if isinstance(images, Sequence):
        for image in images:
            require_file(image)
