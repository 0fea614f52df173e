"""A file from the web, whole or not at all, and the very one that was asked for.

What has arrived is kept beside the target, in a `.part`; a later call goes on from there. The target appears at once
when every byte is there and the SHA-256 is right, so no half of a file is ever taken for one.
"""

from __future__ import annotations

import hashlib
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, InvalidURL
from pathlib import Path
from typing import Any

OnBytes = Callable[[int], None]

_CHUNK = 1 << 18
_TIMEOUT = 60.0  # seconds without a byte


class DownloadError(Exception):
    """A file that cannot be had; the message is the end of a sentence that begins with its URL."""


class ChecksumError(DownloadError):
    """A file that is another than the one asked for."""


def download(url: str, target: Path, size: int, sha256: str, on_bytes: OnBytes = lambda done: None) -> None:
    """Bring a file, going on with what an earlier call left in its `.part`.

    A connection that is cut is made again for as long as each brings something.

    Args:
        url: of HTTP or HTTPS; redirects are followed, and the proxies of the environment are used.
        target: where to; its folder exists.
        size: of the file, in bytes.
        sha256: of the file, in hexadecimal.
        on_bytes: is told how many bytes of the file are there.

    Raises:
        ChecksumError: what the server has is not that file; nothing of it is kept.
        DownloadError: there is no answer, or none that helps; what has come is kept.
        OSError: the file cannot be written.
    """
    part = part_of(target)
    while (begun := _size(part)) != size:
        if begun > size:
            part.unlink()
            continue
        on_bytes(begun)
        problem = "the connection was cut"
        try:
            with _opened(url, begun, size) as answer:
                _append(answer, part, begun if answer.status == 206 else 0, size, on_bytes)
        except TimeoutError:
            problem = f"the server said nothing for {_TIMEOUT:g} seconds"
        except (HTTPException, ConnectionError):
            pass  # what has come is kept, and whether to go on is decided below
        if _size(part) <= begun:
            raise DownloadError(f"{problem} after {_size(part):,} of {size:,} bytes")
    on_bytes(size)
    found = sha256_of(part)
    if found != sha256:
        part.unlink()
        raise ChecksumError(f"what is there is another file: its SHA-256 is {found}, not {sha256}")
    part.replace(target)


def part_of(target: Path) -> Path:
    """Return where the beginning of a file is kept until all of it is there."""
    return target.with_name(target.name + ".part")


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _opened(url: str, begun: int, size: int) -> Any:
    """Return the answer with the rest of a file, or, of a server that knows no ranges, with all of it.

    Raises:
        DownloadError: the server cannot be reached, refuses, or has a file of another size.
    """
    headers = {"User-Agent": "exemplar"} | ({"Range": f"bytes={begun}-"} if begun else {})
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        raise DownloadError(f"the server answered {error.code} {error.reason}".rstrip()) from error
    except urllib.error.URLError as error:
        reason = getattr(error.reason, "strerror", None) or error.reason
        raise DownloadError(f"the server cannot be reached: {reason}") from error
    except (ValueError, InvalidURL) as error:
        raise DownloadError(f"that is no address: {error}") from error
    told = _size_told(answer, begun)
    if told not in (None, size):
        answer.close()
        raise ChecksumError(f"what is there is another file: it has {told:,} bytes, not {size:,}")
    return answer


def _size_told(answer: Any, begun: int) -> int | None:
    """Return the size of the whole file as an answer's headers have it; None where they do not say.

    Raises:
        DownloadError: it is another part than the one asked for.
    """
    if answer.status != 206:
        return int(length) if (length := answer.headers.get("Content-Length")) else None
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != begun:
        answer.close()
        raise DownloadError("the server sent another part of it than the one asked for")
    return None if found[2] == "*" else int(found[2])


def _append(answer: Any, part: Path, begun: int, size: int, on_bytes: OnBytes) -> None:
    """Write an answer's bytes behind the first `begun` of a file, as they come.

    Raises:
        ChecksumError: there are more than there should be.
    """
    with open(part, "r+b" if part.exists() else "wb") as file:
        file.truncate(begun)
        file.seek(begun)
        while chunk := answer.read1(_CHUNK):
            if begun + len(chunk) > size:
                part.unlink()
                raise ChecksumError(f"what is there is another file: it has more than {size:,} bytes")
            file.write(chunk)
            begun += len(chunk)
            on_bytes(begun)
        file.flush()
        os.fsync(file.fileno())
