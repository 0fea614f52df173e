"""Finds the images that the demonstration and `make train` use: Omniglot's background set.

In this order: `EXEMPLAR_DATA` (a folder or zip); the cache; a download of the canonical archive into the cache, which
is accepted only when it holds every image. As a module, it prints the path.
"""

from __future__ import annotations

import os
import shutil
import sys
import urllib.request
import zipfile
from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError

from rich.console import Console
from rich.progress import wrap_file

URL = "https://github.com/brendenlake/omniglot/raw/master/python/images_background.zip"
CLASSES, IMAGES = 964, 19_280

_TIMEOUT_SECONDS = 20


class DataError(Exception):
    """The data set cannot be had; the message says why and what to do."""


def find_omniglot(environment: Mapping[str, str], url: str = URL) -> Path:
    """Return the path of the data set; download it where it is nowhere yet.

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
    """Download the archive to `target`, or not at all.

    Raises:
        DataError: the server cannot be reached, the connection broke, or the file there is not the data set.
    """
    partial = target.with_name(target.name + ".partial")
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer, partial.open("wb") as stream:
            size = int(answer.headers.get("Content-Length") or 0)
            console = Console(stderr=True)
            with wrap_file(answer, size, description="Omniglot", console=console, transient=True) as shown:
                shutil.copyfileobj(shown, stream)
    except OSError as error:
        partial.unlink(missing_ok=True)
        reason = error.reason if type(error) is URLError else error
        raise DataError(f"{url} cannot be read: {reason}") from error
    if problem := _problem(partial):
        partial.unlink()
        raise DataError(
            f"the download of {url} broke off, or the file there is not the data set ({problem}); "
            "run the command again to try once more"
        )
    partial.replace(target)


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
