"""Read what a source points to: local files directly, web servers within limits of time, other URLs through fsspec.

Only a regular file is opened: a pipe or a device would keep its reader for as long as nobody writes.
"""

from __future__ import annotations

import io
import os
import stat
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

from exemplar_indexer import web
from exemplar_indexer.items import SourceError
from exemplar_indexer.reach import ANYWHERE, WEB, Reach, local_path

# A message cannot carry more, so reading on would only fill the memory.
MAX_BYTES = 32 * 1024 * 1024

# How the files begin that the server reads. The only such list: the server's decoder goes by its library's own, which
# is not installed where a job only sends files. WebP, AVIF and HEIC are told by their containers below.
_SIGNATURES = (
    *(b"\xff\xd8\xff", b"\x89PNG", b"BM", b"GIF8"),
    # TIFF and BigTIFF of either byte order, and TIFF with the version's bytes turned, as some programs write it.
    *(b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+"),
)
_BRANDS = frozenset(
    (
        *(b"avif", b"avis", b"mif1", b"msf1"),
        *(b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"),
    )
)


_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class ImageUnreadableError(Exception):
    """An image that cannot be fetched; the message is a sentence."""


def read_image(image: str, limit: int = MAX_BYTES, reach: Reach = ANYWHERE) -> bytes:
    """Return an image's bytes, the first `limit` at most.

    Raises:
        ImageUnreadableError: It is not there, cannot be read, or may not be.
    """
    if refusal := reach.refusal(image):
        raise ImageUnreadableError(refusal)
    path = local_path(image)
    try:
        if path is not None:
            _regular(path)
            with Path(path).open("rb") as file:
                return file.read(limit)
        if image.partition("://")[0].lower() in WEB:
            return web.fetch(image, limit, reach)
        with open_binary(image) as file:
            return file.read(limit)
    except web.NotThereError as error:
        raise ImageUnreadableError(f"there is no image at {image}: {error}") from error
    except Exception as error:  # each protocol of fsspec has errors of its own: they all end in the report
        raise _unreadable(image, error) from error


def looks_like_image(start: bytes) -> bool:
    """Tell from the first 16 bytes whether the server may be able to read the rest."""
    if start[4:8] == b"ftyp":
        return start[8:12] in _BRANDS
    return start.startswith(_SIGNATURES) or (start[:4], start[8:12]) == (b"RIFF", b"WEBP")


def fingerprint(image: str) -> str:
    """Return what changes when a local file changes: size and time of the last change. A URL has none.

    Raises:
        ImageUnreadableError: A local file is not there, or is no regular file.
    """
    if "://" in image:
        return ""
    try:
        facts = _regular(image)
    except (OSError, ValueError) as error:
        raise _unreadable(image, error) from error
    return f"{facts.st_size}:{facts.st_mtime_ns}"


def open_text(manifest: str) -> TextIO:
    """Open a UTF-8 text, with or without a byte order mark; bytes that are not UTF-8 become lone surrogates."""
    # The csv module wants line ends untouched.
    return io.TextIOWrapper(
        open_binary(manifest).__enter__(), encoding="utf-8-sig", errors="surrogateescape", newline=""
    )


def open_binary(path: str) -> AbstractContextManager[BinaryIO]:
    """Open a file or a URL.

    Raises:
        SourceError: It is a URL, and fsspec is not installed.
    """
    local = local_path(path)
    if local is not None:
        return Path(local).open("rb")
    try:
        import aiohttp  # noqa: F401 - fsspec needs it for http
        import fsspec
    except ModuleNotFoundError as error:
        raise SourceError(f"reading {path} needs fsspec: pip install 'exemplar[index]'") from error
    options: dict[str, Any] = {}
    if path.partition("://")[0].lower() in WEB:  # a manifest may be of any length, so in all it may take any time
        options["client_kwargs"] = {"timeout": web.timeouts(total=None)}
    return cast(AbstractContextManager[BinaryIO], fsspec.open(path, "rb", **options))


def _regular(path: str) -> os.stat_result:
    """Return the facts of a file that reading comes to an end of.

    Raises:
        OSError: It is not there, or no regular file.
        ValueError: No file can have such a name.
    """
    facts = Path(path).stat()
    if not stat.S_ISREG(facts.st_mode):
        kind = next((name for is_one, name in _KINDS if is_one(facts.st_mode)), "no regular file")
        raise OSError(f"it is {kind}, and no file")
    return facts


def reason(path: str, error: Exception) -> str:
    """Return in words why a file or a URL could not be read."""
    missing = isinstance(error, ModuleNotFoundError) and error.name in ("aiohttp", "fsspec")
    if missing or isinstance(error, SourceError):
        return "URLs need fsspec: pip install 'exemplar[index]'"
    if local_path(path) is not None or isinstance(error, web.WebError | ImportError):
        return str(getattr(error, "strerror", None) or error)
    return web.why(error)


def _unreadable(image: str, error: Exception) -> ImageUnreadableError:
    # fsspec says that nothing is there whatever kept it from looking; the cause tells.
    if isinstance(error, FileNotFoundError | NotADirectoryError) and error.__cause__ is None:
        return ImageUnreadableError(f"there is no image at {image}")
    return ImageUnreadableError(f"the image at {image} cannot be read: {reason(image, error)}")
