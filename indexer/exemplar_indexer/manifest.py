"""A CSV, JSONL or Parquet manifest as a source.

Each row has `id` and `image`, and may have `region` (the part of the image that is meant: `LEFT,TOP,WIDTH,HEIGHT` in
pixels or percent), `display_name`, `attributes` (a JSON object) and `attributes.<key>`; any other column is an
attribute of its own name. An image's path is relative to the manifest, or a URL.
"""

from __future__ import annotations

import csv
import json
import posixpath
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from exemplar import Region
from exemplar_indexer.images import open_binary, open_text, reason
from exemplar_indexer.items import Item, Problem, SourceEntry, SourceError, checked, is_text
from exemplar_indexer.reach import ANYWHERE, Reach, local_path

Rows: TypeAlias = Iterator[tuple[int, Mapping[str, Any] | str]]

_ROWS_AT_A_TIME = 1000

# No more than this can be said to the server, nor has any image so many.
_MOST_PIXELS = 2**31 - 1


def manifest_entries(manifest: str, rows: Callable[[str], Rows], reach: Reach = ANYWHERE) -> Iterator[SourceEntry]:
    """Yield an item for each row, or what is wrong with it.

    Args:
        manifest: Path or URL.
        rows: Reads it: the line and the row's values, or the line and a sentence on why there are none.
        reach: What its rows may name.

    Raises:
        SourceError: The manifest cannot be read, or has no header that names the columns.
    """
    try:
        for line, row in rows(manifest):
            place = f"{manifest}:{line}"
            yield Problem(place, "ROW_INVALID", row) if isinstance(row, str) else _entry(row, place, manifest, reach)
    except csv.Error as error:
        raise SourceError(f"{manifest} is no CSV: its first line cannot be read: {error}") from error
    except SourceError:
        raise
    except _failures(manifest) as error:
        raise SourceError(f"{manifest} cannot be read: {reason(manifest, error)}") from error


def _failures(manifest: str) -> tuple[type[Exception], ...]:
    if local_path(manifest) is not None:
        return (OSError,)
    import aiohttp

    # ValueError: fsspec does not know the protocol. ImportError: it does, but the package for it is not installed.
    return (OSError, aiohttp.ClientError, ValueError, ImportError)


class _Lines:
    """The lines of a text, of which those that a damaged row took with it can be read again."""

    def __init__(self, text: Iterator[str]) -> None:
        self._text = text
        self._row: list[str] = []
        self._again: deque[str] = deque()
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._text)
        self._row.append(line)
        self.number += 1
        return line

    def begin_row(self) -> int:
        """Return the number of the line that is next."""
        self._row.clear()
        return self.number + 1

    def give_back(self) -> None:
        """Give back the lines of the row that has begun, but for its first."""
        self._again.extendleft(reversed(self._row[1:]))
        self.number -= len(self._row[1:])


def csv_rows(manifest: str) -> Rows:
    """Read comma-separated values with a header; of a row that cannot be read only the first line is lost."""
    with open_text(manifest) as text:
        lines = _Lines(text)
        rows = csv.reader(lines, strict=True)
        columns = next(rows, [])
        if not all(map(is_text, columns)):
            raise SourceError(f"{manifest} is not UTF-8 text: its first line is {','.join(columns)!r}")
        _check_columns(columns, "the manifest's first line")
        while True:
            line = lines.begin_row()
            try:
                row = next(rows)
            except csv.Error as error:
                lines.give_back()
                yield line, f"the row is no CSV: {error}"
            except StopIteration:
                return
            else:
                if len(row) > len(columns):
                    yield line, "the row has more values than the header has columns"
                elif row:
                    # An empty cell says nothing, so it is no attribute.
                    yield line, {name: value for name, value in zip(columns, row, strict=False) if value}


def jsonl_rows(manifest: str) -> Rows:
    """Read one JSON object a line; empty lines are skipped."""
    with open_text(manifest) as text:
        for line, content in enumerate(text, 1):
            if content.strip():
                try:
                    row = _json(content)
                except ValueError as error:
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

    def values_of(batch: pa.RecordBatch) -> Iterator[Mapping[str, Any] | str]:
        try:
            yield from batch.to_pylist(maps_as_pydicts="strict")
        # A map that holds a key twice, a text that is not UTF-8, a date that Python has not.
        except (KeyError, ValueError, OverflowError, pa.ArrowException) as error:
            if batch.num_rows == 1:
                yield f"the row cannot be read: {error}"
            else:
                for index in range(batch.num_rows):
                    yield from values_of(batch.slice(index, 1))

    try:
        with open_binary(manifest) as file:
            table = pq.ParquetFile(file)
            _check_columns(table.schema_arrow.names, "the manifest")
            number = 0
            for batch in table.iter_batches(_ROWS_AT_A_TIME):
                for values in values_of(batch):
                    number += 1
                    if isinstance(values, str):
                        yield number, values
                    else:
                        # As in CSV: what is null or empty says nothing.
                        yield number, {name: value for name, value in values.items() if value not in (None, "")}
    except pa.ArrowException as error:
        raise SourceError(f"{manifest} is no Parquet that can be read: {error}") from error


def _check_columns(found: Sequence[str], where: str) -> None:
    missing = [name for name in ("id", "image") if name not in found]
    if missing:
        raise SourceError(f"{where} has no column {' and '.join(missing)}; it has {', '.join(found) or 'nothing'}")


KINDS: dict[str, Callable[[str], Rows]] = {".csv": csv_rows, ".jsonl": jsonl_rows, ".parquet": parquet_rows}


def _entry(row: Mapping[str, Any], place: str, manifest: str, reach: Reach) -> SourceEntry:
    values = dict(row)
    if isinstance(values.get("image"), bytes):
        return Problem(place, "ROW_INVALID", "image holds bytes; it is the path or URL of an image")
    class_id, image = _text(values.pop("id", "")), _text(values.pop("image", ""))
    if not class_id or not image:
        absent = "id" if not class_id else "image"
        return Problem(place, "ROW_INVALID", f"the row has no {absent}", class_id, image)
    image = _beside(manifest, image)
    if refusal := reach.refusal(image):
        return Problem(place, "IMAGE_NOT_ALLOWED", refusal, class_id, image)
    region, display_name = _text(values.pop("region", "")), _text(values.pop("display_name", ""))
    if region and (fault := _region_fault(region)):
        return Problem(place, "ROW_INVALID", fault, class_id, image)
    attributes = values.pop("attributes", {})
    if isinstance(attributes, str):
        try:
            attributes = _json(attributes)
        except ValueError:
            attributes = None
    if not isinstance(attributes, dict):
        return Problem(place, "ROW_INVALID", "attributes is no JSON object", class_id, image)
    loose = {name.removeprefix("attributes."): value for name, value in values.items()}
    texts = {name: _text(value) for name, value in {**attributes, **loose}.items() if value is not None}
    return checked(Item(class_id, image, place, display_name, texts, region))


def _region_fault(region: str) -> str | None:
    try:
        parsed = Region.parse(region)
    except ValueError as error:
        return str(error)
    most = max(abs(each) for each in (parsed.left, parsed.top, parsed.width, parsed.height))
    return f"no image has a region of {region}" if most > _MOST_PIXELS else None


def _json(text: str) -> Any:
    """Read JSON; whatever keeps it from being read is a ValueError, also nesting or a number without end."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


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
