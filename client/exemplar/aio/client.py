"""`AsyncClient`: every request of the service, to be awaited."""

from __future__ import annotations

from exemplar.aio.classes import ClassRequests
from exemplar.aio.classification import ClassificationRequests
from exemplar.aio.exemplars import ExemplarRequests
from exemplar.aio.galleries import GalleryRequests
from exemplar.aio.models import ModelRequests


class AsyncClient(ClassificationRequests, GalleryRequests, ClassRequests, ExemplarRequests, ModelRequests):
    """Connection to an Exemplar server: `async with AsyncClient() as client`.

    May be made anywhere, also outside of an event loop, and used in one loop after another, in each with a connection
    of its own. Files are read and images encoded on a thread, so the loop stays free.

    A failed request raises a subclass of `ExemplarError`: `UnavailableError` when no server answers,
    `DeadlineExceededError` after `timeout`, `NotFoundError` for a gallery or class that is not there,
    `InvalidArgumentError` for an image or field that cannot be used, and so on.
    An image is a path, encoded bytes, a Pillow image, a uint8 array [H, W], [H, W, 3] or [H, W, 4], or a `Part` of
    any of them; a path without a file raises `FileNotFoundError`.
    """
