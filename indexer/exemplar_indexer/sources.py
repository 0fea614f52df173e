"""The input of a job: a stream of items and problems, out of a folder or a manifest.

A source holds no list of its items, so it may be of any length. It opens no image; that is the pipeline's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from exemplar_indexer.folder import LeftOut, folder_entries
from exemplar_indexer.items import SourceEntry, SourceError, is_text
from exemplar_indexer.manifest import KINDS, manifest_entries
from exemplar_indexer.reach import ANYWHERE, Reach


def open_source(source: str, reach: Reach = ANYWHERE, left_out: LeftOut | None = None) -> Iterator[SourceEntry]:
    """Return the entries of a folder or a manifest.

    Args:
        source: A folder, or a manifest (`.csv`, `.jsonl`, `.parquet`) by its path or a URL that fsspec knows.
        reach: What a manifest's rows may name; see `Reach.of`.
        left_out: Is told, on the way, what of a folder is no part of it.

    Raises:
        SourceError: There is nothing there, or it is neither; at once, or for a damaged manifest on the way.
    """
    if not is_text(source):
        raise SourceError(f"the path {source!r} is not UTF-8; give the folder or manifest another name")
    suffix = Path(source.partition("?")[0]).suffix.lower()
    if "://" not in source:
        path = Path(source)
        if path.is_dir():
            return folder_entries(path, left_out or LeftOut())
        if not path.exists():
            raise SourceError(f"there is no folder or manifest at {source}")
        if not path.is_file():
            raise SourceError(f"{source} is neither a folder nor a manifest: it is a pipe, a socket or a device")
    if suffix not in KINDS:
        raise SourceError(
            f"{source} is neither a folder nor a manifest: a manifest's name ends in {', '.join(KINDS)}"
        )
    return manifest_entries(source, KINDS[suffix], reach)
