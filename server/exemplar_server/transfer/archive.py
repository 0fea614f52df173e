"""The archive: galleries whole in one file, to be kept, or taken elsewhere.

    archive.json                              what this is, and its format
    galleries/ID/gallery.json                 a gallery's settings, times, revision and calibration
    galleries/ID/images/SHA256                an image as it was sent, once a gallery
    galleries/ID/classes/000000.jsonl         classes with their exemplars, up to a thousand
    responses/000000.jsonl                    responses that are kept for requests that are sent again
    SHA256SUMS                                the SHA-256 of all of the above

Nothing in it depends on where the galleries were or on when they were written, so the same galleries give the same
bytes. A file of this name is a whole archive: it gets its name once all of it is on disk.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

from exemplar.names import class_id_problem, gallery_id_problem
from exemplar_encoder import EncodedImage
from exemplar_server.errors import gallery_not_found
from exemplar_server.store.records import ClassCopy, Gallery, KeptResponse
from exemplar_server.transfer.lines import (
    class_line,
    gallery_text,
    read_class,
    read_gallery,
    read_response,
    response_line,
)
from exemplar_server.transfer.members import ArchiveError, Member, MemberWriter, read_members
from exemplar_server.transfer.source import Source, batches

FORMAT = 1
_KIND = "exemplar-archive"
_DESCRIPTION = "archive.json"
_BUFFER = 1024 * 1024
_FIRST = 512  # where the first member's content begins

Record = TypeVar("Record")


@dataclass
class Carried:
    """How much of a gallery was carried."""

    gallery: str
    classes: int = 0
    exemplars: int = 0
    image_bytes: int = 0

    def count(self, of: ClassCopy) -> None:
        """Add a class."""
        self.classes += 1
        self.exemplars += len(of.exemplars)
        self.image_bytes += sum(len(item.image) for item in of.exemplars)


def write_archive(source: Source, path: Path, advance: Callable[[int], None]) -> tuple[list[Carried], int]:
    """Write all that a source has into a file, which takes the place of one of this name.

    Args:
        source: what to write.
        path: of the file; beside it there is one `.partial` until the end.
        advance: is told how many more classes are written.

    Returns:
        How much of each gallery was written, and how many kept responses.

    Raises:
        ServiceError: something cannot be read whole. There is no file then.
        OSError: the file cannot be written.
    """
    unfinished = path.with_name(path.name + ".partial")
    try:
        with open(unfinished, "wb") as file, closing(MemberWriter(file)) as writer:
            writer.add(_DESCRIPTION, json.dumps({"kind": _KIND, "format": FORMAT}).encode() + b"\n")
            carried = [_write_gallery(source, gallery, writer, advance) for gallery in source.galleries()]
            responses = _write_responses(source, writer)
            writer.finish()
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
    finally:
        unfinished.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return carried, responses


def _write_gallery(source: Source, gallery: Gallery, writer: MemberWriter, advance: Callable[[int], None]) -> Carried:
    folder = f"galleries/{gallery.id}"
    writer.add(f"{folder}/gallery.json", gallery_text(gallery))
    carried = Carried(gallery.id)
    written: set[bytes] = set()
    for number, batch in enumerate(batches(source.classes(gallery.id))):
        lines = []
        for of in batch:
            names = []
            for item in of.exemplars:
                whole = item.exemplar.region is None
                name = item.exemplar.sha256 if whole else hashlib.sha256(item.image).hexdigest()
                names.append(name)
                if (key := bytes.fromhex(name)) not in written:
                    written.add(key)
                    writer.add(f"{folder}/images/{name}", item.image, name)
            lines.append(class_line(of, names))
            carried.count(of)
        writer.add(f"{folder}/classes/{number:06}.jsonl", b"".join(lines))
        advance(len(batch))
    return carried


def _write_responses(source: Source, writer: MemberWriter) -> int:
    responses = source.responses()
    count = number = 0
    while page := list(islice(responses, 1000)):
        writer.add(f"responses/{number:06}.jsonl", b"".join(map(response_line, page)))
        count, number = count + len(page), number + 1
    return count


@dataclass
class _Contents:
    """Where the parts of a gallery are."""

    gallery: Gallery = field(init=False)
    classes: list[Member] = field(default_factory=list)
    images: dict[bytes, tuple[int, int]] = field(default_factory=dict)


class Archive:
    """The `Source` that an archive is. Its whole content was checked once it is open."""

    def __init__(self, path: Path, only: Collection[str] = (), advance: Callable[[int], None] | None = None) -> None:
        """Read all of it and check every SHA-256.

        Args:
            path: of the file.
            only: the galleries to take; all where it names none.
            advance: is told how many more bytes are checked.

        Raises:
            ArchiveError: it is none, of another format, damaged or not whole.
            NotFoundError: one of `only` is not in it.
            OSError: it cannot be read.
        """
        self.name = str(path)
        self._only = only
        self._contents: dict[str, _Contents] = {}
        self._responses: list[Member] = []
        self._file = open(path, "rb", buffering=_BUFFER)  # noqa: SIM115 - held open on purpose
        try:
            self._read(advance or (lambda count: None))
        except ArchiveError as error:
            self._file.close()
            raise ArchiveError(f"{path} cannot be read: {error}; take another copy of it") from error
        except BaseException:
            self._file.close()
            raise
        for name in sorted({*only} - self._contents.keys()):
            self._file.close()
            raise gallery_not_found(name)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def galleries(self) -> list[Gallery]:
        """See `Source`."""
        return [
            contents.gallery
            for gallery, contents in sorted(self._contents.items())
            if not self._only or gallery in self._only
        ]

    def classes(self, gallery: str) -> Iterator[ClassCopy]:
        """See `Source`."""
        contents = self._contents[gallery]
        last = ""
        for member in contents.classes:
            for line in self._content(member).splitlines(keepends=True):
                of = self._parsed(member, lambda text: read_class(text, partial(self._image, contents)), line)
                problem = class_id_problem(of.id) or ("" if of.id > last else f"{of.id!r} is out of order")
                if problem:
                    raise ArchiveError(f"{member.name}: {problem}")
                for item in of.exemplars:
                    if EncodedImage(item.image, item.exemplar.region).sha256() != item.exemplar.sha256:
                        raise ArchiveError(f"{member.name}: class {of.id!r} has another image than it says")
                last = of.id
                yield of

    def responses(self) -> Iterator[KeptResponse]:
        """See `Source`."""
        for member in [] if self._only else self._responses:
            for line in self._content(member).splitlines(keepends=True):
                yield self._parsed(member, read_response, line)

    def _read(self, advance: Callable[[int], None]) -> None:
        descriptions = []
        for member in read_members(self._file):
            self._place(member)
            if member.name.endswith(".json"):
                descriptions.append(member)
            advance(member.size)
        for member in descriptions:  # now that nothing of it is damaged
            self._describe(member)

    def _describe(self, member: Member) -> None:
        if member.name == _DESCRIPTION:
            self._check_format(member)
            return
        contents = self._contents[member.name.split("/")[1]]
        contents.gallery = self._parsed(member, read_gallery, self._content(member))
        if f"galleries/{contents.gallery.id}/gallery.json" != member.name:
            raise ArchiveError(f"{member.name} is of gallery {contents.gallery.id!r}")
        if problem := gallery_id_problem(contents.gallery.id):
            raise ArchiveError(f"{member.name}: {problem}")

    def _check_format(self, member: Member) -> None:
        described = self._parsed(member, json.loads, self._content(member))
        if not isinstance(described, dict) or described.get("kind") != _KIND:
            raise ArchiveError("it is no archive of this program's")
        if described.get("format") != FORMAT:
            raise ArchiveError(f"its format is {described.get('format')}, and this program knows {FORMAT}")

    def _place(self, member: Member) -> None:
        match member.name.split("/"):
            case ["archive.json"] if member.start == _FIRST:
                pass
            case _ if member.start == _FIRST:
                raise ArchiveError("it is no archive of this program's")
            case ["galleries", gallery, "gallery.json"]:
                self._contents[gallery] = _Contents()
            case ["galleries", gallery, "images", name] if gallery in self._contents:
                if name != member.sha256:
                    raise ArchiveError(f"the SHA-256 of {member.name} is not its name")
                self._contents[gallery].images[bytes.fromhex(name)] = member.start, member.size
            case ["galleries", gallery, "classes", _] if gallery in self._contents:
                self._contents[gallery].classes.append(member)
            case ["responses", _]:
                self._responses.append(member)
            case _:
                raise ArchiveError(f"{member.name} does not belong there")

    def _image(self, contents: _Contents, name: str) -> bytes:
        return self._at(*contents.images[bytes.fromhex(name)])

    def _content(self, member: Member) -> bytes:
        content = self._at(member.start, member.size)
        if hashlib.sha256(content).hexdigest() != member.sha256:
            raise ArchiveError(f"{member.name} changed while it was read")
        return content

    def _at(self, start: int, size: int) -> bytes:
        return os.pread(self._file.fileno(), size, start)

    def _parsed(self, member: Member, read: Callable[[bytes], Record], text: bytes) -> Record:
        try:
            return read(text)
        except (KeyError, TypeError, ValueError) as error:
            raise ArchiveError(f"{member.name} is not written as this program writes it ({error!r})") from error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
