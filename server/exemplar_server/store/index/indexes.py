"""The indexes of all galleries, each loaded once, and those galleries that are too damaged to be.

A damaged class costs its own gallery's searches only; a gallery whose own row is damaged is refused whole, by name.
"""

from __future__ import annotations

import threading
from pathlib import Path

import structlog

from exemplar_server.errors import DataLossError, NotFoundError, ServiceError, UnavailableError
from exemplar_server.store.index.gallery_index import GalleryIndex
from exemplar_server.store.index.kinds import IndexKind
from exemplar_server.store.index.vector_source import FillingStopped
from exemplar_server.store.truth.checksums import damaged_gallery
from exemplar_server.store.truth.truth import Truth

_log = structlog.get_logger()


class Indexes:
    """See the module. Every method may be called from any thread."""

    def __init__(self, truth: Truth, kind: IndexKind, folder: Path | None) -> None:
        """Make none yet.

        Args:
            truth: where the galleries are.
            kind: which index they get.
            folder: where indexes are saved; None for nowhere.
        """
        self._broken: dict[str, str] = {}  # what is wrong with them
        self._truth = truth
        self._kind = kind
        self._folder = folder
        self._held: dict[str, GalleryIndex] = {}
        self._loading = threading.Lock()

    def load_all(self) -> None:
        """Load every gallery, so that the first search need not."""
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
        after = ""
        while page := self._truth.list_galleries(after, 100):
            for gallery in page:
                try:
                    self.get(gallery.id)
                except (DataLossError, NotFoundError, UnavailableError) as error:
                    _log.warning("a gallery could not be loaded", gallery=gallery.id, reason=error.message)
            after = page[-1].id
        for gallery_id in self._truth.damaged_galleries():
            self._broken[gallery_id] = "its own row does not match its checksum"
        for gallery_id, problem in self.damage().items():
            _log.error("a gallery is damaged", gallery=gallery_id, problem=problem)

    def damage(self) -> dict[str, str]:
        """Return why galleries that are known here cannot be searched; those that can are not in it."""
        found = dict(self._broken)
        return found | {gallery: said for gallery, held in list(self._held.items()) if (said := held.damage())}

    def broken(self, gallery: str) -> DataLossError | None:
        """Return what is wrong with a gallery that is damaged as a whole; an error of the caller's own to raise."""
        problem = self._broken.get(gallery)
        return None if problem is None else damaged_gallery(gallery, problem)

    def find(self, gallery: str) -> GalleryIndex | None:
        """Return a gallery's index where it is loaded."""
        return self._held.get(gallery)

    def get(self, gallery: str) -> GalleryIndex:
        """Return a gallery's index, loading it where it is not, or raise what is wrong with the gallery."""
        held = self._held.get(gallery)
        if held is not None:
            return held
        with self._loading:
            if (broken := self.broken(gallery)) is not None:
                raise broken
            if gallery not in self._held:
                try:
                    self._held[gallery] = GalleryIndex(self._truth, gallery, self._kind, self._folder)
                except DataLossError as error:
                    self._broken[gallery] = error.message
                    raise damaged_gallery(gallery, error.message) from error
            return self._held[gallery]

    def follow(self, gallery: str) -> None:
        """Bring a gallery's index up to a change that is on disk; it is not the change's fault if that fails."""
        self._broken.pop(gallery, None)  # it may be gone, or mended
        try:
            self.get(gallery).follow()
        except NotFoundError:
            self.drop(gallery)
        except ServiceError as error:  # the next search tries again, and tells its caller
            _log.warning("an index is behind", gallery=gallery, reason=error.message)

    def follow_loaded(self, gallery: str = "") -> None:
        """Bring the index of a gallery that another process changed up to date; all that are loaded where empty."""
        for each in [gallery] if gallery else [*self._held, *self._broken]:
            self._broken.pop(each, None)
            if each in self._held:
                self.follow(each)

    def compare(self) -> None:
        """Compare every index that is loaded with the truth, and build those anew that are not as it is."""
        for gallery, held in list(self._held.items()):
            try:
                same = held.compare()
                _log.info("compared an index", gallery=gallery, same=same)
            except FillingStopped:  # the gallery was deleted, or the store is being closed
                _log.info("no index is compared any more", gallery=gallery)
            except ServiceError as error:
                _log.warning("an index could not be compared", gallery=gallery, reason=error.message)

    def drop(self, gallery: str) -> None:
        """Let go of a gallery that was deleted."""
        with self._loading:
            held = self._held.pop(gallery, None)
            self._broken.pop(gallery, None)
        if held is not None:
            try:
                held.drop()
            except UnavailableError as error:  # what is left in another machine is no gallery's
                _log.warning("an index could not be emptied", gallery=gallery, reason=error.message)

    def close(self) -> None:
        """Let go of all of them."""
        with self._loading:
            for held in self._held.values():
                held.close()
            self._held.clear()
