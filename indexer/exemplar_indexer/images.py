"""Read what a source points to: local files directly, anything with `://` through fsspec."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from exemplar_indexer.items import SourceError

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


class ImageUnreadableError(Exception):
    """An image that cannot be fetched; the message is a sentence."""


def read_image(image: str, limit: int = MAX_BYTES) -> bytes:
    """Return an image's bytes, the first `limit` at most.

    Raises:
        ImageUnreadableError: It is not there, or cannot be read.
    """
    try:
        with open_binary(image) as file:
            return file.read(limit)
    except _failures(image) as error:
        raise ImageUnreadableError(_sentence(image, error)) from error


def looks_like_image(start: bytes) -> bool:
    """Tell from the first 16 bytes whether the server may be able to read the rest."""
    if start[4:8] == b"ftyp":
        return start[8:12] in _BRANDS
    return start.startswith(_SIGNATURES) or (start[:4], start[8:12]) == (b"RIFF", b"WEBP")


def fingerprint(image: str) -> str:
    """Return what changes when a local file changes: size and time of the last change. A URL has none.

    Raises:
        ImageUnreadableError: A local file is not there.
    """
    if "://" in image:
        return ""
    try:
        facts = Path(image).stat()
    except OSError as error:
        raise ImageUnreadableError(_sentence(image, error)) from error
    return f"{facts.st_size}:{facts.st_mtime_ns}"


def open_text(manifest: str) -> TextIO:
    """Open a UTF-8 text, with or without a byte order mark."""
    # The csv module wants line ends untouched.
    return io.TextIOWrapper(open_binary(manifest).__enter__(), encoding="utf-8-sig", newline="")


def open_binary(path: str) -> AbstractContextManager[BinaryIO]:
    """Open a file or a URL.

    Raises:
        SourceError: It is a URL, and fsspec is not installed.
    """
    if "://" not in path:
        return Path(path).open("rb")
    try:
        import aiohttp  # noqa: F401 - fsspec needs it for http
        import fsspec
    except ModuleNotFoundError as error:
        raise SourceError(f"reading {path} needs fsspec: pip install 'exemplar[index]'") from error
    return cast(AbstractContextManager[BinaryIO], fsspec.open(path, "rb"))


def _failures(path: str) -> tuple[type[Exception], ...]:
    if "://" not in path:
        return (OSError,)
    import aiohttp

    # ValueError: fsspec does not know the protocol. ImportError: it does, but the package for it is not installed.
    return (OSError, aiohttp.ClientError, ValueError, ImportError)


def _sentence(image: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"there is no image at {image}"
    return f"the image at {image} cannot be read: {getattr(error, 'strerror', None) or error}"
