"""The synchronous client. Thread-safe: one client serves a whole program."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import grpc

from exemplar import bulk, calls, channel, results
from exemplar.calls import KEEP, Call, Item, Keep, Page, Result
from exemplar.channel import Tls
from exemplar.errors import ItemError, request_error
from exemplar.images import Image
from exemplar.v1.classification_service_pb2_grpc import ClassificationServiceStub
from exemplar.v1.gallery_service_pb2_grpc import GalleryServiceStub
from exemplar.v1.model_service_pb2_grpc import ModelServiceStub


class Client:
    """Talks to an Exemplar server; a context manager.

    Every method raises a subclass of `ExemplarError` when the request fails: `UnavailableError` when no server
    answers, `DeadlineExceededError` after `timeout`, `NotFoundError` for a gallery or class that is not there,
    `InvalidArgumentError` for an image or field that cannot be used, and so on.
    An image is a path, encoded bytes, a Pillow image, or a uint8 array [H, W], [H, W, 3] or [H, W, 4]; a path
    without a file raises `FileNotFoundError`.
    """

    def __init__(
        self,
        address: str = "127.0.0.1:50051",
        *,
        timeout: float = 30.0,
        token: str | None = None,
        tls: Tls | bool = False,
        attempts: int = 5,
    ) -> None:
        """Prepares a connection; it is made with the first request.

        Args:
            address: `host:port`, or another target that gRPC knows (`unix:/path`, `dns:///name:port`).
            timeout: Deadline of each request in seconds, retries included.
            token: Bearer token, where the server asks for one. Without TLS it travels in the clear.
            tls: True to use the system's certificates, or a `Tls` for others.
            attempts: How often, in all, a request is tried while the server is unavailable; 1 to 5. Creating a
                gallery, deleting and removing are never repeated.
        """
        if tls is True:
            tls = Tls()
        self.address = address
        self.timeout = timeout
        options = channel.options(address, attempts, tls or None)
        self._metadata = channel.metadata(token)
        self._channel = (
            grpc.secure_channel(address, tls.credentials(), options)
            if tls
            else grpc.insecure_channel(address, options)
        )
        self._stubs: dict[str, Any] = {
            "ClassificationService": ClassificationServiceStub(self._channel),
            "GalleryService": GalleryServiceStub(self._channel),
            "ModelService": ModelServiceStub(self._channel),
        }

    def close(self) -> None:
        """Closes the connection; requests under way are cancelled."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def classify(
        self,
        gallery: str,
        image: Image | results.Embedding,
        *,
        top_k: int | None = None,
        false_accept_rate: float | None = None,
        model: str | None = None,
    ) -> results.Classification:
        """Names one query.

        Args:
            gallery: Id of the gallery to search.
            image: The query: an image, or an embedding made before by the gallery's model.
            top_k: How many matches to return, 1 to 100; None for 5.
            false_accept_rate: Share of queries of no enrolled class that may be given a name; None for the gallery's.
            model: Id of the model that is expected; another one raises `FailedPreconditionError`.
        """
        options = calls.classification_options(top_k, false_accept_rate, model)
        return self._run(calls.classify(gallery, image, options))

    def classify_many(
        self,
        gallery: str,
        images: Iterable[Image | results.Embedding],
        *,
        top_k: int | None = None,
        false_accept_rate: float | None = None,
        model: str | None = None,
    ) -> list[results.Classification | ItemError]:
        """Names many queries, in batches; arguments as `classify`.

        Returns:
            One entry an image, in order: the answer, or an `ItemError` for an image that cannot be used.
        """
        options = calls.classification_options(top_k, false_accept_rate, model)
        return self._run_all(bulk.classify(gallery, images, options))

    def embed(self, image: Image) -> results.Embedding:
        """Embeds one image."""
        return self._run(calls.embed(image))

    def embed_many(self, images: Iterable[Image]) -> list[results.Embedding | ItemError]:
        """Embeds many images; one entry each, in order."""
        return self._run_all(bulk.embed(images))

    def create_gallery(
        self,
        gallery: str,
        *,
        display_name: str = "",
        false_accept_rate: float | None = None,
        max_exemplars_per_class: int | None = None,
    ) -> results.Gallery:
        """Creates an empty gallery; `AlreadyExistsError` when there is one of that id.

        Args:
            gallery: Id, 1 to 63 of a-z, 0-9 and '-'.
            display_name: A name for people.
            false_accept_rate: What the UNKNOWN threshold is set for, between 0 and 1; None for the model's default.
            max_exemplars_per_class: 1 to 16; None for 1.
        """
        return self._run(calls.create_gallery(gallery, display_name, false_accept_rate, max_exemplars_per_class))

    def get_gallery(self, gallery: str) -> results.Gallery:
        """Reads a gallery."""
        return self._run(calls.get_gallery(gallery))

    def galleries(self) -> Iterator[results.Gallery]:
        """Yields the galleries by id, fetching pages as they are needed."""
        return self._pages(calls.galleries)

    def update_gallery(
        self,
        gallery: str,
        *,
        display_name: str | Keep = KEEP,
        false_accept_rate: float | Keep | None = KEEP,
        max_exemplars_per_class: int | Keep | None = KEEP,
        calibration: results.Calibration | Keep | None = KEEP,
    ) -> results.Gallery:
        """Changes what is given and keeps the rest; None returns a field to its default.

        Args:
            gallery: Id of the gallery.
            display_name: A name for people.
            false_accept_rate: As for `create_gallery`.
            max_exemplars_per_class: As for `create_gallery`.
            calibration: The gallery's own, fitted on queries of its own; None for the model's.
        """
        return self._run(
            calls.update_gallery(gallery, display_name, false_accept_rate, max_exemplars_per_class, calibration)
        )

    def delete_gallery(self, gallery: str, *, force: bool = False) -> None:
        """Deletes a gallery; one that holds classes only with `force` (else `FailedPreconditionError`)."""
        self._run(calls.delete_gallery(gallery, force))

    def enroll(
        self,
        gallery: str,
        class_id: str,
        images: Image | Sequence[Image],
        *,
        display_name: str = "",
        attributes: Mapping[str, str] | None = None,
        strict: bool = False,
    ) -> results.Enrolled:
        """Stores a class; one of the same id is replaced whole.

        Args:
            gallery: Id of the gallery.
            class_id: The caller's own id, 1 to 128 characters without '/'.
            images: The exemplar; a list or tuple of several where the gallery allows it.
            display_name: A name for people.
            attributes: Facts to be returned with each match.
            strict: Refuse (`FailedPreconditionError`) an exemplar that has warnings.
        """
        wanted = results.Enrollment(class_id, images, display_name, attributes or {})
        return self._run(calls.enroll(gallery, wanted, strict))

    def enroll_many(
        self, gallery: str, enrollments: Iterable[results.Enrollment], *, strict: bool = False
    ) -> list[results.Enrolled | ItemError]:
        """Stores many classes, in batches; one entry each, in order. Of two with one id the last counts."""
        return self._run_all(bulk.enroll(gallery, enrollments, strict))

    def get_class(self, gallery: str, class_id: str) -> results.Class:
        """Reads a class."""
        return self._run(calls.get_class(gallery, class_id))

    def classes(self, gallery: str) -> Iterator[results.Class]:
        """Yields a gallery's classes by id, fetching pages as they are needed."""
        return self._pages(calls.classes(gallery))

    def update_class(
        self,
        gallery: str,
        class_id: str,
        *,
        display_name: str | Keep = KEEP,
        attributes: Mapping[str, str] | Keep = KEEP,
    ) -> results.Class:
        """Changes what is given (attributes are replaced whole) and leaves the exemplars alone."""
        return self._run(calls.update_class(gallery, class_id, display_name, attributes))

    def delete_class(self, gallery: str, class_id: str) -> int:
        """Deletes a class; returns the gallery's revision that no longer holds it."""
        return self._run(calls.delete_class(gallery, class_id))

    def add_exemplars(
        self, gallery: str, class_id: str, images: Image | Sequence[Image], *, strict: bool = False
    ) -> results.ExemplarsAdded:
        """Adds exemplars to a class, all of them or none; an image that it has already stays as it is.

        Args:
            gallery: Id of the gallery, whose `max_exemplars_per_class` holds (else `FailedPreconditionError`).
            class_id: Id of the class.
            images: An image, or a list or tuple of several.
            strict: Refuse (`FailedPreconditionError`) exemplars that have warnings.
        """
        return self._run(calls.add_exemplars(gallery, class_id, images, strict))

    def remove_exemplar(self, gallery: str, class_id: str, sha256: str) -> results.ExemplarRemoved:
        """Removes the exemplar of that SHA-256; a class's only one stays (`FailedPreconditionError`)."""
        return self._run(calls.remove_exemplar(gallery, class_id, sha256))

    def exemplar_image(self, gallery: str, class_id: str, index: int = 0) -> bytes:
        """Returns an exemplar's image as it was sent."""
        return self._run(calls.exemplar_image(gallery, class_id, index))

    def check(self, image: Image, *, gallery: str | None = None, class_id: str = "") -> results.ExemplarCheck:
        """Looks at an image as an exemplar would be looked at, and stores nothing.

        Args:
            image: The would-be exemplar.
            gallery: Gallery whose classes it is compared with; None to look at the image alone.
            class_id: The class it is meant for; its present exemplar is not held against it.
        """
        return self._run(calls.check(image, gallery, class_id))

    def diagnose(self, gallery: str, max_pairs: int | None = None) -> results.Diagnosis:
        """Finds the pairs of classes most easily confused: `max_pairs` of them, None for 20."""
        return self._run(calls.diagnose(gallery, max_pairs))

    def models(self) -> Iterator[results.Model]:
        """Yields the models that the server has loaded."""
        return self._pages(calls.models)

    def get_model(self, model: str) -> results.Model:
        """Reads a model."""
        return self._run(calls.get_model(model))

    def _run(self, call: Call[Result]) -> Result:
        method = getattr(self._stubs[call.service], call.method)
        try:
            response = method(call.request, timeout=self.timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise request_error(error, self.address, self.timeout) from error
        return call.read(response)

    def _run_all(self, steps: Iterable[bulk.Step[Result]]) -> list[Result | ItemError]:
        done: list[Result | ItemError] = []
        for step in steps:
            entries: list[Result | ItemError] = [step] if isinstance(step, ItemError) else self._run(step)
            done += entries
        return done

    def _pages(self, page_call: Callable[[str], Call[Page[Item]]]) -> Iterator[Item]:
        token = ""
        while True:
            page = self._run(page_call(token))
            yield from page.items
            token = page.next_token
            if not token:
                return
