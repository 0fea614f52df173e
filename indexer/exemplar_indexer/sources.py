"""The input of a job: a stream of items and problems, out of a folder or a manifest.

A source holds no list of its items, so it may be of any length. It opens no image; that is the pipeline's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from exemplar_indexer.folder import folder_entries
from exemplar_indexer.items import SourceEntry, SourceError
from exemplar_indexer.manifest import KINDS, manifest_entries


def open_source(source: str) -> Iterator[SourceEntry]:
    """Return the entries of a folder or a manifest.

    Args:
        source: A folder, or a manifest (`.csv`, `.jsonl`, `.parquet`) by its path or a URL that fsspec knows.

    Raises:
        SourceError: There is nothing there, or it is neither; at once, or for a damaged manifest on the way.
    """
    suffix = Path(source.partition("?")[0]).suffix.lower()
    if "://" not in source:
        path = Path(source)
        if path.is_dir():
            return folder_entries(path)
        if not path.exists():
            raise SourceError(f"there is no folder or manifest at {source}")
    if suffix not in KINDS:
        raise SourceError(
            f"{source} is neither a folder nor a manifest: a manifest's name ends in {', '.join(KINDS)}"
        )
    return manifest_entries(source, KINDS[suffix])
