"""The parts that the servicers work with, once they are loaded, and the limits they hold callers to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import grpc

from exemplar_server.classifier import Classifier
from exemplar_server.enrollment import Enroller
from exemplar_server.errors import ResourceExhaustedError, invalid_field
from exemplar_server.inspection import Inspector
from exemplar_server.store import GalleryStore
from exemplar_server.writer import Writer

# The limit that a gRPC client has where nobody set one.
_MESSAGE_THAT_ALL_TAKE = 4 * 1024 * 1024

# Of an answer's bytes, for what surrounds its items.
_ENVELOPE = 64 * 1024

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class Dependencies:
    """Servicers exist before the model is loaded; calls are let through to them only once these parts are set."""

    classifier: Classifier
    inspector: Inspector
    enroller: Enroller

    def __init__(self, max_batch_items: int, max_message_bytes: int) -> None:
        self.max_batch_items = max_batch_items
        self.answer_bytes = max_message_bytes - _ENVELOPE
        self.page_bytes = min(max_message_bytes, _MESSAGE_THAT_ALL_TAKE) * 3 // 4

    @property
    def writer(self) -> Writer:
        """What changes the galleries."""
        return self.enroller.writer

    @property
    def store(self) -> GalleryStore:
        """Where the galleries are."""
        return self.classifier.store

    def check_batch(self, field: str, items: Sequence[object]) -> None:
        """Refuse a batch that is empty or too large."""
        if not items:
            raise invalid_field(field, "a batch needs at least one item")
        if len(items) > self.max_batch_items:
            raise ResourceExhaustedError(
                "BATCH_TOO_LARGE",
                f"{field}: {len(items):,} items; the server's limit is {self.max_batch_items:,} a batch",
                {"field": field, "limit": str(self.max_batch_items), "actual": str(len(items))},
            )
