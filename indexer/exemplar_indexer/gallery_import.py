"""Loading shards into a gallery: straight into the store, in bulk, with no server in between.

A class that is in with the same exemplar is passed over, so an import that was killed is run again and ends with the
same gallery. The indexes follow the store: a server builds its own once, when it is started or told of the change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime

from exemplar_encoder import EncodedImage, Region
from exemplar_indexer.images import ImageUnreadableError, read_image
from exemplar_indexer.items import Problem
from exemplar_indexer.outcomes import Note
from exemplar_indexer.readers import Readers
from exemplar_indexer.shard_folder import ShardError, ShardFolder
from exemplar_indexer.shards import HEADER, Header, Row, read_header, read_shard, rows_of, shard_name
from exemplar_server.errors import AlreadyExistsError, NotFoundError
from exemplar_server.store.records import ClassCopy, Exemplar, NewExemplar
from exemplar_server.store.truth.truth import Truth

# Images that are fetched at the same time, where the shards hold their URLs.
_FETCHES = 16

# A batch is one transaction: the larger, the fewer times the same pages of the database are written anew.
_COMMIT_ROWS = 8192
_COMMIT_BYTES = 32 * 1024 * 1024

# Rows, each with the shard that it is in.
_Batch = Sequence[tuple[Row, str]]


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
        with Readers(_FETCHES) as fetchers:
            for batch in _ahead(_batches(folder, header)):
                failed = len(self.failures)
                urls = header.image_urls
                images = fetchers.map(_fetched, batch) if urls else (row.image for row, _ in batch)
                self._load(batch, images)
                on_progress(len(batch), len(self.failures) - failed)

    def _load(self, batch: _Batch, images: Iterable[bytes | Problem | None]) -> None:
        now = datetime.now(UTC)
        copies: list[tuple[ClassCopy, str]] = []
        for (row, place), image in zip(batch, images, strict=True):
            if isinstance(image, bytes):
                copies.append((class_copy(row, image, now), place))
            else:
                problem = image or Problem("", "IMAGE_EMPTY", "the shard holds no image")
                self._fail(problem.reason, problem.message, row, place)
        try:
            self._commit(copies)
        except AlreadyExistsError:
            self._commit([(copy, place) for copy, place in copies if self._is_new(copy, place)])

    def _commit(self, copies: Sequence[tuple[ClassCopy, str]]) -> None:
        if copies:
            self._store.load_classes(self._gallery, [copy for copy, _ in copies])
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


def _batches(folder: ShardFolder, header: Header) -> Iterator[_Batch]:
    """Yield as many rows as are committed at once, each with its shard; those before a damaged shard come first."""
    batch: list[tuple[Row, str]] = []
    size = 0
    try:
        for number in range(header.shards):
            place = f"{folder.location}/{shard_name(number)}"
            for table in read_shard(folder, number, header):
                rows = list(rows_of(table))
                batch += [(row, place) for row in rows]
                size += sum(row.size_bytes for row in rows)
                if len(batch) >= _COMMIT_ROWS or size >= _COMMIT_BYTES:
                    yield batch
                    batch, size = [], 0
    except ShardError:
        yield batch
        raise
    yield batch


def _ahead(batches: Iterator[_Batch]) -> Iterator[_Batch]:
    """Yield what `batches` yields, and have the next one read while one is written."""
    with Readers(1) as reader:
        following = reader.submit(next, batches, None)
        while (batch := following.result()) is not None:
            following = reader.submit(next, batches, None)
            yield batch


def _fetched(placed: tuple[Row, str]) -> bytes | Problem:
    """Return the image behind a row's URL, if it is the one that was embedded."""
    row, _ = placed
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
