"""A CSV, JSONL or Parquet manifest as a source.

Each row has `id` and `image`, and may have `region` (the part of the image that is meant: `LEFT,TOP,WIDTH,HEIGHT` in
pixels or percent), `display_name`, `attributes` (a JSON object) and `attributes.<key>`; any other column is an
attribute of its own name. An image's path is relative to the manifest, or a URL.
"""

from __future__ import annotations

import csv
import json
import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from exemplar import Region
from exemplar_indexer.images import open_binary, open_text
from exemplar_indexer.items import Item, Problem, SourceEntry, SourceError, checked

Rows: TypeAlias = Iterator[tuple[int, Mapping[str, Any] | str]]

_ROWS_AT_A_TIME = 1000


def manifest_entries(manifest: str, rows: Callable[[str], Rows]) -> Iterator[SourceEntry]:
    """Yield an item for each row, or what is wrong with it.

    Args:
        manifest: Path or URL.
        rows: Reads it: the line and the row's values, or the line and a sentence on why there are none.

    Raises:
        SourceError: The manifest cannot be read, or is not UTF-8.
    """
    try:
        for line, row in rows(manifest):
            place = f"{manifest}:{line}"
            if isinstance(row, str):
                yield Problem(place, "ROW_INVALID", row)
            else:
                yield _entry(row, place, manifest)
    except UnicodeDecodeError as error:
        raise SourceError(f"{manifest} is not UTF-8 text: {error}") from error
    except csv.Error as error:
        raise SourceError(f"{manifest} is no CSV: {error}") from error
    except OSError as error:
        raise SourceError(f"{manifest} cannot be read: {error.strerror or error}") from error


def csv_rows(manifest: str) -> Rows:
    """Read comma-separated values with a header."""
    with open_text(manifest) as text:
        reader = csv.DictReader(text, strict=True)
        _check_columns(reader.fieldnames or (), "the manifest's first line")
        for row in reader:
            if None in row:
                yield reader.line_num, "the row has more values than the header has columns"
            else:
                # An empty cell says nothing, so it is no attribute.
                yield reader.line_num, {name: value for name, value in row.items() if value}


def jsonl_rows(manifest: str) -> Rows:
    """Read one JSON object a line; empty lines are skipped."""
    with open_text(manifest) as text:
        for line, content in enumerate(text, 1):
            if content.strip():
                try:
                    row = json.loads(content)
                except json.JSONDecodeError as error:
                    yield line, f"the line is no JSON: {error}"
                else:
                    yield line, row if isinstance(row, dict) else "the line is no JSON object"


def parquet_rows(manifest: str) -> Rows:
    """Read the rows of a Parquet file, counted from 1."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise SourceError(f"reading {manifest} needs pyarrow: pip install 'exemplar[shards]'") from error
    try:
        with open_binary(manifest) as file:
            table = pq.ParquetFile(file)
            _check_columns(table.schema_arrow.names, "the manifest")
            number = 0
            for batch in table.iter_batches(_ROWS_AT_A_TIME):
                for values in batch.to_pylist(maps_as_pydicts="strict"):
                    number += 1
                    # As in CSV: what is null or empty says nothing.
                    yield number, {name: value for name, value in values.items() if value not in (None, "")}
    except (pa.ArrowException, KeyError) as error:  # a map may hold a key twice
        raise SourceError(f"{manifest} is no Parquet that can be read: {error}") from error


def _check_columns(found: Sequence[str], where: str) -> None:
    missing = [name for name in ("id", "image") if name not in found]
    if missing:
        raise SourceError(f"{where} has no column {' and '.join(missing)}; it has {', '.join(found) or 'nothing'}")


KINDS: dict[str, Callable[[str], Rows]] = {".csv": csv_rows, ".jsonl": jsonl_rows, ".parquet": parquet_rows}


def _entry(row: Mapping[str, Any], place: str, manifest: str) -> SourceEntry:
    values = dict(row)
    if isinstance(values.get("image"), bytes):
        return Problem(place, "ROW_INVALID", "image holds bytes; it is the path or URL of an image")
    class_id, image = _text(values.pop("id", "")), _text(values.pop("image", ""))
    if not class_id or not image:
        absent = "id" if not class_id else "image"
        return Problem(place, "ROW_INVALID", f"the row has no {absent}", class_id, image)
    image = _beside(manifest, image)
    region, display_name = _text(values.pop("region", "")), _text(values.pop("display_name", ""))
    try:
        _ = Region.parse(region) if region else None
    except ValueError as error:
        return Problem(place, "ROW_INVALID", str(error), class_id, image)
    attributes = values.pop("attributes", {})
    if isinstance(attributes, str):
        try:
            attributes = json.loads(attributes)
        except json.JSONDecodeError:
            attributes = None
    if not isinstance(attributes, dict):
        return Problem(place, "ROW_INVALID", "attributes is no JSON object", class_id, image)
    loose = {name.removeprefix("attributes."): value for name, value in values.items()}
    texts = {name: _text(value) for name, value in {**attributes, **loose}.items() if value is not None}
    return checked(Item(class_id, image, place, display_name, texts, region))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool | int | float | list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)  # Parquet has dates and other values that JSON has not


def _beside(manifest: str, image: str) -> str:
    if "://" in image or posixpath.isabs(image):
        return image
    return posixpath.join(posixpath.dirname(manifest), image)
