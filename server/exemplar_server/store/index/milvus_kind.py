"""Galleries on a Milvus server: a collection for each model, shared by its galleries."""

from __future__ import annotations

import threading
from pathlib import Path

from exemplar_server.store.index.milvus import MilvusIndex
from exemplar_server.store.index.milvus_collection import MilvusCollection, MilvusServer
from exemplar_server.store.index.vector_index import VectorIndex
from exemplar_server.store.index.vector_source import Filled, VectorSource
from exemplar_server.store.records import Gallery, Version


class MilvusKind:
    """Searched by Milvus, whatever the gallery's size."""

    remote = True

    def __init__(self, address: str, token: str = "", tls_ca: Path | None = None) -> None:
        """Connect to the server once the first gallery is searched; see `MilvusServer`."""
        self._server = MilvusServer(address, token, tls_ca)
        self._collections: dict[tuple[str, int], MilvusCollection] = {}
        self._lock = threading.Lock()

    def start(self, source: VectorSource, saved: Path | None) -> tuple[VectorIndex, Filled]:
        """See `IndexKind`; what Milvus has is compared with the truth, and mended."""
        gallery = source.truth.get_gallery(source.gallery)
        # One that was made anew is another, and finds nothing of the one before.
        name = f"{gallery.id} {gallery.create_time.isoformat()}"
        index = MilvusIndex(self._collection(gallery), name, source.stored)
        return index, source.fill(index)

    def build(self, source: VectorSource) -> tuple[VectorIndex, Filled]:
        """See `IndexKind`."""
        return self.start(source, None)

    def save(self, index: VectorIndex, version: Version, path: Path) -> None:
        """Save nothing: it is Milvus's."""

    def close(self) -> None:
        """See `IndexKind`."""
        with self._lock:
            for collection in self._collections.values():
                collection.close()

    def _collection(self, gallery: Gallery) -> MilvusCollection:
        with self._lock:
            about = gallery.model, gallery.dimension
            if about not in self._collections:
                self._collections[about] = MilvusCollection(self._server, *about)
            return self._collections[about]
