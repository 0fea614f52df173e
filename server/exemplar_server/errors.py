"""Errors in the words of the domain.

Every error that a caller is meant to see is a `ServiceError`: a reason for programs, a sentence for people, facts
about it, and how long to wait where trying again makes sense. The classes mirror the kinds of answer a caller can
act upon; turning them into a wire format is left to `rpc/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType


class ServiceError(Exception):
    """Base of all errors that are answers.

    Attributes:
        reason: UPPER_SNAKE, stable, for programs.
        message: a sentence for people.
        metadata: facts about the error, such as the field at fault.
        retry_after: seconds after which trying again may succeed; None when it will not by itself.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata: Mapping[str, str] = MappingProxyType(dict(metadata or {}))
        self.retry_after = retry_after


class InvalidArgumentError(ServiceError):
    """The request is wrong in itself: a bad image or field."""


class NotFoundError(ServiceError):
    """Something that the request names does not exist."""


class AlreadyExistsError(ServiceError):
    """Something that the request creates exists already."""


class FailedPreconditionError(ServiceError):
    """The request is fine in itself, but not for what it is made against."""


class AbortedError(ServiceError):
    """Another change came first."""


class ResourceExhaustedError(ServiceError):
    """A limit was reached."""


class UnavailableError(ServiceError):
    """Not now; later."""


class DataLossError(ServiceError):
    """Stored data does not match its checksum."""


class UnauthenticatedError(ServiceError):
    """The caller is nobody whom the server knows."""


class PermissionDeniedError(ServiceError):
    """The caller is known, and may not do this."""


class InternalError(ServiceError):
    """The server failed at an item of a batch, in a way that nobody expected."""


class StartError(Exception):
    """The server cannot start; the message is a sentence that says why and what to do."""


class NoStoreError(StartError):
    """There is no kind of store of this name."""


def invalid_field(field: str, problem: str) -> InvalidArgumentError:
    """Return an error that names the field at fault."""
    return InvalidArgumentError("FIELD_INVALID", f"{field}: {problem}", {"field": field})


def gallery_not_found(gallery: str) -> NotFoundError:
    """Return the error for a gallery that is not there."""
    return NotFoundError("GALLERY_NOT_FOUND", f"there is no gallery {gallery!r}", {"gallery": gallery})


def class_not_found(gallery: str, class_id: str) -> NotFoundError:
    """Return the error for a class that is not in this gallery."""
    return NotFoundError(
        "CLASS_NOT_FOUND",
        f"gallery {gallery!r} has no class {class_id!r}",
        {"gallery": gallery, "class": class_id},
    )


def exemplar_not_found(gallery: str, class_id: str, sha256: str) -> NotFoundError:
    """Return the error for an exemplar that is not of this class."""
    return NotFoundError(
        "EXEMPLAR_NOT_FOUND",
        f"class {class_id!r} of gallery {gallery!r} has no exemplar with SHA-256 {sha256}",
        {"gallery": gallery, "class": class_id, "sha256": sha256},
    )


def etag_mismatch(subject: str, facts: Mapping[str, str]) -> AbortedError:
    """Return the error for an etag of an earlier state.

    `subject` begins the sentence, and `facts` hold the present etag.
    """
    return AbortedError(
        "ETAG_MISMATCH", f"{subject} was changed meanwhile; read it again and decide anew what to change", facts
    )


def last_exemplar(gallery: str, class_id: str) -> FailedPreconditionError:
    """Return the error for taking the last exemplar from a class."""
    return FailedPreconditionError(
        "LAST_EXEMPLAR",
        f"class {class_id!r} of gallery {gallery!r} has no other exemplar; delete the class instead, "
        "or add another exemplar first",
        {"gallery": gallery, "class": class_id},
    )


def too_many_exemplars(gallery: str, class_id: str, present: int, new: int, most: int) -> FailedPreconditionError:
    """Return the error for a class that would hold more exemplars than its gallery allows."""
    return FailedPreconditionError(
        "TOO_MANY_EXEMPLARS",
        f"class {class_id!r} of gallery {gallery!r} would have {present + new} exemplars, {new} of them new; the "
        f"gallery allows {most} a class: remove some first, or raise its max_exemplars_per_class",
        {"gallery": gallery, "class": class_id, "present": str(present), "limit": str(most)},
    )
