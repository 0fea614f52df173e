"""Loading shards into a gallery: straight into the store, in bulk, with no server in between.

A class that is in with the same exemplar is passed over, so an import that was killed is run again and ends with the
same gallery. The indexes follow the store: a server builds its own once, when it is started or told of the change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from exemplar_encoder import EncodedImage, Region
from exemplar_indexer.images import ImageUnreadableError, read_image
from exemplar_indexer.items import Problem
from exemplar_indexer.outcomes import Note
from exemplar_indexer.shard_folder import ShardError, ShardFolder
from exemplar_indexer.shards import HEADER, Header, Row, read_header, read_shard, rows_of, shard_name
from exemplar_server.errors import AlreadyExistsError, NotFoundError
from exemplar_server.store.records import ClassCopy, Exemplar, NewExemplar
from exemplar_server.store.truth.truth import Truth

# Images that are fetched at the same time, where the shards hold their URLs.
_FETCHES = 16


def open_shards(folder: ShardFolder) -> Header:
    """Return the header of shards that are all there.

    Raises:
        ShardError: There are none, or the job that writes them has not come to its end.
    """
    header = read_header(folder)
    if header is None:
        raise ShardError(f"{folder.location} holds no shards: there is no {HEADER}")
    if not header.complete:
        raise ShardError(f"the job that writes shards to {folder.location} has not ended; run it again")
    return header


def meet_gallery(store: Truth, gallery: str, header: Header, create: bool) -> None:
    """Find the gallery that the shards go to, or create it.

    Raises:
        NotFoundError: There is none, and it was not to be created.
        ShardError: It is of another model than the shards.
    """
    try:
        found = store.get_gallery(gallery)
    except NotFoundError:
        if not create:
            raise
        found = store.create_gallery(gallery, header.model, header.dimension)
    if found.model != header.model:
        raise ShardError(
            f"gallery {gallery} is of model {found.model}, and the shards are of model {header.model}; "
            "make shards with the gallery's bundle, or import them into another gallery"
        )


class GalleryImport:
    """An import under way, which counts what became of the classes.

    Attributes:
        loaded: Classes that this import brought in.
        there: Classes that were in already.
        skipped: Classes that are in with another exemplar, and were left.
        failures: What could not be loaded.
    """

    def __init__(self, store: Truth, gallery: str, skip_existing: bool) -> None:
        """Prepare.

        Args:
            store: Where to.
            gallery: Id of a gallery of the shards' model.
            skip_existing: Leave classes that are in with another exemplar; else they fail.
        """
        self.loaded = self.there = self.skipped = 0
        self.failures: list[Note] = []
        self._store = store
        self._gallery = gallery
        self._skip_existing = skip_existing

    def run(self, folder: ShardFolder, header: Header, on_progress: Callable[[int, int], None]) -> None:
        """Load all shards, each after it has been checked.

        Args:
            folder: Where they are.
            header: Their header.
            on_progress: Called with how many classes have had their turn, and how many of those failed.

        Raises:
            ShardError: A shard is not the one that was written; those before it are loaded.
            ServiceError: The store refused.
        """
        with ThreadPoolExecutor(_FETCHES, "fetcher") as fetchers:
            for number in range(header.shards):
                for table in read_shard(folder, number, header):
                    failed = len(self.failures)
                    rows = list(rows_of(table))
                    images = fetchers.map(_fetched, rows) if header.image_urls else (row.image for row in rows)
                    self._load(rows, images, f"{folder.location}/{shard_name(number)}")
                    on_progress(len(rows), len(self.failures) - failed)

    def _load(self, rows: Sequence[Row], images: Iterable[bytes | Problem | None], place: str) -> None:
        now = datetime.now(UTC)
        copies = []
        for row, image in zip(rows, images, strict=True):
            if isinstance(image, bytes):
                copies.append(class_copy(row, image, now))
            else:
                problem = image or Problem("", "IMAGE_EMPTY", "the shard holds no image")
                self._fail(problem.reason, problem.message, row, place)
        if not copies:
            return
        try:
            self._store.load_classes(self._gallery, copies)
        except AlreadyExistsError:
            copies = [copy for copy in copies if self._is_new(copy, place)]
            if copies:
                self._store.load_classes(self._gallery, copies)
        self.loaded += len(copies)

    def _is_new(self, copy: ClassCopy, place: str) -> bool:
        try:
            found = self._store.get_class(self._gallery, copy.id)
        except NotFoundError:
            return True
        if [each.sha256 for each in found.exemplars] == [each.exemplar.sha256 for each in copy.exemplars]:
            self.there += 1
        elif self._skip_existing:
            self.skipped += 1
        else:
            message = f"class {copy.id!r} is in the gallery with another exemplar; --skip-existing leaves it"
            self.failures.append(Note.error(Problem(place, "CLASS_EXISTS", message, copy.id)))
        return False

    def _fail(self, reason: str, message: str, row: Row, place: str) -> None:
        self.failures.append(Note.error(Problem(place, reason, message, row.id, row.image_url or "")))


def _fetched(row: Row) -> bytes | Problem:
    """Return the image behind a row's URL, if it is the one that was embedded."""
    url = row.image_url or ""
    try:
        content = read_image(url)
    except ImageUnreadableError as error:
        return Problem("", "IMAGE_UNREADABLE", str(error))
    if EncodedImage(content, _region(row)).sha256() != row.sha256:
        return Problem("", "IMAGE_CHANGED", f"the image at {url} is not the one that was embedded")
    return content


def class_copy(row: Row, image: bytes, now: datetime) -> ClassCopy:
    """Return a shard's row with its image as a store is given it."""
    about = Exemplar(row.sha256, row.width, row.height, row.format, row.size_bytes, _region(row))
    exemplars = (NewExemplar(about, image, row.vector),)
    return ClassCopy(row.id, row.display_name, row.attributes, now, now, row.vector, exemplars)


def _region(row: Row) -> Region | None:
    return None if row.region is None else Region.parse(row.region)
