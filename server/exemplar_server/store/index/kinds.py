"""How galleries are indexed: which index a gallery gets at its start, and which is built for it in the background."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from exemplar_server.store.index.flat import FlatIndex
from exemplar_server.store.index.gpu import GpuIndex
from exemplar_server.store.index.gpu_device import Gpu
from exemplar_server.store.index.vector_index import VectorIndex
from exemplar_server.store.index.vector_source import Filled, VectorSource
from exemplar_server.store.records import Version


class IndexKind(Protocol):
    """Makes the indexes of galleries; `remote` says whether those may have to wait for another machine."""

    remote: bool

    def start(self, source: VectorSource, saved: Path | None) -> tuple[VectorIndex, Filled]:
        """Return an index of a gallery's present state, soon.

        Args:
            source: the gallery.
            saved: where an index of it may have been saved.

        Raises:
            NotFoundError: there is no such gallery.
            DataLossError: the gallery's own row is damaged.
            UnavailableError: the index is on another machine that does not answer.
        """
        ...

    def build(self, source: VectorSource) -> tuple[VectorIndex, Filled]:
        """Return the index that serves a gallery of its present size best, however long that takes; as `start`."""
        ...

    def save(self, index: VectorIndex, version: Version, path: Path) -> None:
        """Save an index that is at `version`, where that is quicker to load than to build."""
        ...

    def close(self) -> None:
        """Let go of what the indexes share, after all of them are closed."""
        ...


class ExactKind:
    """In memory whatever the gallery's size, and read from the truth at every start."""

    remote = False

    def __init__(self, make: Callable[[int], VectorIndex] = FlatIndex) -> None:
        """Use indexes that `make` makes for a dimension."""
        self._make = make

    def start(self, source: VectorSource, saved: Path | None) -> tuple[VectorIndex, Filled]:
        """See `IndexKind`."""
        index = self._make(source.truth.get_gallery(source.gallery).dimension)
        return index, source.fill(index)

    def build(self, source: VectorSource) -> tuple[VectorIndex, Filled]:
        """See `IndexKind`."""
        return self.start(source, None)

    def save(self, index: VectorIndex, version: Version, path: Path) -> None:
        """Save nothing."""

    def close(self) -> None:
        """See `IndexKind`."""


class GpuKind(ExactKind):
    """Exact on a GPU."""

    def __init__(self, gpu: Gpu, on_fallback: Callable[[], None]) -> None:
        """Search on a GPU, and call `on_fallback` for each index that has to do without."""
        super().__init__(lambda dimension: GpuIndex(dimension, gpu, on_fallback))
        self._gpu = gpu

    def close(self) -> None:
        """See `IndexKind`."""
        self._gpu.close()
