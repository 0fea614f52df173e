# Generated from exemplar/aio/client.py by `make proto`: change that, not this.
"""`Client`: every request of the service."""

from __future__ import annotations

from exemplar.sync.classes import ClassRequests
from exemplar.sync.classification import ClassificationRequests
from exemplar.sync.exemplars import ExemplarRequests
from exemplar.sync.galleries import GalleryRequests
from exemplar.sync.models import ModelRequests


class Client(ClassificationRequests, GalleryRequests, ClassRequests, ExemplarRequests, ModelRequests):
    """Connection to an Exemplar server: `with Client() as client`.

    Thread-safe: one client serves a whole program.

    A failed request raises a subclass of `ExemplarError`: `UnavailableError` when no server answers,
    `DeadlineExceededError` after `timeout`, `NotFoundError` for a gallery or class that is not there,
    `InvalidArgumentError` for an image or field that cannot be used, and so on.
    An image is a path, encoded bytes, a Pillow image, a uint8 array [H, W], [H, W, 3] or [H, W, 4], or a `Part` of
    any of them; a path without a file raises `FileNotFoundError`.
    """
