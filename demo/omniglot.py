"""Finds the images that the demonstration and `make train` use: Omniglot's background set.

In this order: `EXEMPLAR_DATA` (a folder or zip); the cache; a download of the canonical archive into the cache, which
goes on where an earlier one stopped and is accepted only when it holds every image. As a module, it prints the path.
"""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

URL = "https://github.com/brendenlake/omniglot/raw/master/python/images_background.zip"
CLASSES, IMAGES = 964, 19_280

_TIMEOUT_SECONDS = 20
_CHUNK = 1 << 16


class DataError(Exception):
    """The data set cannot be had; the message says why and what to do."""


def find_omniglot(environment: Mapping[str, str], url: str = URL) -> Path:
    """The path of the data set, downloading it when it is nowhere yet.

    Raises:
        DataError: `EXEMPLAR_DATA` names nothing, or the download failed.
    """
    given = environment.get("EXEMPLAR_DATA")
    if given:
        path = Path(given)
        if not path.exists():
            raise DataError(f"EXEMPLAR_DATA names {given}, which does not exist")
        return path
    cache = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "exemplar"
    target = cache / "omniglot" / "images_background.zip"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        download(url, target)
    return target


def download(url: str, target: Path) -> None:
    """Download the archive to `target`, or not at all; a broken download is resumed next time.

    Raises:
        DataError: the server cannot be reached, the connection broke, or what came is not the data set.
    """
    partial = target.with_name(target.name + ".partial")
    resumed = partial.exists() and partial.stat().st_size > 0
    _fetch(url, partial)
    problem = _problem(partial)
    if problem and resumed:
        # The archive on the server may have changed since the first part came.
        partial.unlink()
        _fetch(url, partial)
        problem = _problem(partial)
    if problem:
        partial.unlink()
        raise DataError(f"what {url} sent is not the data set: {problem}")
    partial.replace(target)


def _fetch(url: str, partial: Path) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
            if answer.status != 206:
                have = 0  # the server sends the whole file
            length = answer.headers.get("Content-Length")
            total = have + int(length) if length else None
            with _progress() as progress, partial.open("ab" if have else "wb") as stream:
                task = progress.add_task("Omniglot", total=total, completed=have)
                while chunk := answer.read(_CHUNK):
                    stream.write(chunk)
                    progress.advance(task, len(chunk))
        if total is not None and partial.stat().st_size < total:
            raise DataError(f"the download from {url} broke off; run the command again to go on with it")
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing left to send: the part is the whole
            return
        raise DataError(f"{url} answered {error.code} {error.reason}") from error
    except (urllib.error.URLError, OSError) as error:
        raise DataError(f"{url} cannot be reached: {getattr(error, 'reason', error)}") from error


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _problem(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            names = [name for name in archive.namelist() if name.endswith(".png") and "__MACOSX" not in name]
    except zipfile.BadZipFile as error:
        return str(error)
    if damaged:
        return f"{damaged} is damaged"
    classes = {name.rsplit("/", 1)[0] for name in names}
    if (len(classes), len(names)) != (CLASSES, IMAGES):
        return f"it holds {len(names):,} images of {len(classes):,} characters, not {IMAGES:,} of {CLASSES:,}"
    return None


def main() -> int:
    """Print the path of the data set."""
    try:
        print(find_omniglot(os.environ))
    except DataError as error:
        print(
            f"exemplar: {error}. Set EXEMPLAR_DATA to a folder or zip of images to use another set.", file=sys.stderr
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
