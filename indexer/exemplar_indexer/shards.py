"""Shards: the classes of a source with their embeddings, in files that can be checked and need no server.

A folder of shards holds, for each shard, `shard-N.parquet` (see `schema`) and `shard-N.json`, its receipt, which is
written last: a shard is there once its receipt is. `shards.json` is the header: what all shards have in common.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from exemplar_encoder.arrays import Floats
from exemplar_indexer.outcomes import Note
from exemplar_indexer.shard_folder import ShardError, ShardFolder

HEADER = "shards.json"

_FORMAT = 1
_AGAIN = "run `exemplar index` again"
_ANEW = f"remove it and {_AGAIN}"


def schema(dimension: int) -> pa.Schema:
    """Return a shard's columns.

    `sha256` is the exemplar's name (content, and the region's text behind it), `region` a media fragment and null for
    the whole image, sizes are in pixels, `model` is the bundle's id. Of `image` and `image_url` one is null.
    """
    columns = [
        ("id", pa.string()),
        ("display_name", pa.string()),
        ("attributes", pa.map_(pa.string(), pa.string())),
        ("sha256", pa.string()),
        ("region", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("format", pa.string()),
        ("size_bytes", pa.int64()),
        ("vector", pa.list_(pa.float32(), dimension)),
        ("model", pa.string()),
        ("image", pa.binary()),
        ("image_url", pa.string()),
    ]
    optional = ("region", "image", "image_url")
    return pa.schema([pa.field(name, kind, nullable=name in optional) for name, kind in columns])


@dataclass(frozen=True, slots=True)
class Row:
    """A class as a shard holds it; see `schema`. `vector` is float32 `[dimension]`."""

    id: str
    display_name: str
    attributes: Mapping[str, str]
    sha256: str
    region: str | None
    width: int
    height: int
    format: str
    size_bytes: int
    vector: Floats
    model: str
    image: bytes | None
    image_url: str | None


@dataclass(frozen=True)
class Header:
    """What the shards of a folder have in common.

    Attributes:
        source: The folder or manifest that they are made of.
        model: Id of the bundle that embedded.
        dimension: Length of a vector.
        shard_size: Entries of the source that a shard is made of.
        image_urls: Whether the shards hold images by their URLs.
        shards: How many there are, numbered from 0.
        complete: Whether all of them are there.
    """

    source: str
    model: str
    dimension: int
    shard_size: int
    image_urls: bool
    shards: int
    complete: bool = False
    format: int = _FORMAT


@dataclass(frozen=True)
class Receipt:
    """What was written as one shard: the file's SHA-256 and size, and what of the entries is not in it.

    Attributes:
        sha256: Of the Parquet file.
        size_bytes: Of the Parquet file.
        rows: Classes in it.
        plan: SHA-256 of the part of the plan that it was made of.
        failures: Items that could not be embedded.
    """

    sha256: str
    size_bytes: int
    rows: int
    plan: str
    failures: Sequence[Note] = field(default_factory=tuple)


def shard_name(number: int) -> str:
    """Return the name of a shard's Parquet file."""
    return f"shard-{number:06d}.parquet"


def receipt_name(number: int) -> str:
    """Return the name of a shard's receipt."""
    return f"shard-{number:06d}.json"


def read_header(folder: ShardFolder) -> Header | None:
    """Return a folder's header; None where there is none.

    Raises:
        ShardError: It is none, or of another version.
    """
    content = folder.read(HEADER)
    if content is None:
        return None
    return Header(**_parsed(content, f"{folder.location}/{HEADER}"))


def write_header(folder: ShardFolder, header: Header) -> None:
    """Put a folder's header in place."""
    folder.write(HEADER, _json(asdict(header)))


def parse_receipt(content: bytes, where: str) -> Receipt:
    """Read a receipt; `where` names it in errors.

    Raises:
        ShardError: It is none, or of another version.
    """
    values = _parsed(content, where)
    values.pop("format")
    values["failures"] = tuple(Note(**note) for note in values["failures"])
    return Receipt(**values)


def receipt_bytes(receipt: Receipt) -> bytes:
    """Return a receipt as its file holds it."""
    return _json({"format": _FORMAT} | asdict(receipt))


def class_count(folder: ShardFolder, header: Header) -> int:
    """Return how many classes there are in all shards.

    Raises:
        ShardError: The receipt of one is not there.
    """
    names = [receipt_name(number) for number in range(header.shards)]
    if missing := sorted(set(names) - folder.names()):
        raise ShardError(f"{folder.location}/{missing[0]} is not there; {_AGAIN}")
    return sum(parse_receipt(content, name).rows for name, content in folder.read_all(names))


def read_shard(folder: ShardFolder, number: int, header: Header) -> Iterator[pa.Table]:
    """Yield a shard's rows in groups, the first once the whole file has been checked.

    Raises:
        ShardError: The shard or its receipt is not there, or the file is not the one that was written.
    """
    content = folder.read(receipt_name(number))
    if content is None:
        raise ShardError(f"shard {number} of {folder.location} is not there; {_AGAIN}")
    receipt = parse_receipt(content, f"{folder.location}/{receipt_name(number)}")
    with folder.reading(shard_name(number)) as path:
        size = path.stat().st_size
        where = f"{folder.location}/{shard_name(number)}"
        if size != receipt.size_bytes:
            raise ShardError(f"{where} was altered: it has {size:,} bytes, not {receipt.size_bytes:,}; {_ANEW}")
        with pa.memory_map(str(path)) as file:
            buffer = file.read_buffer()
            if hashlib.sha256(buffer).hexdigest() != receipt.sha256:
                raise ShardError(f"{where} was altered: its SHA-256 is not the one in its receipt; {_ANEW}")
            parquet = pq.ParquetFile(pa.BufferReader(buffer))
            if not parquet.schema_arrow.equals(schema(header.dimension)):
                raise ShardError(f"{where} has other columns than a shard of {header.dimension} dimensions")
            for group in range(parquet.num_row_groups):
                yield parquet.read_row_group(group, use_threads=False)


def rows_of(table: pa.Table) -> Iterator[Row]:
    """Yield the rows of a group."""
    vectors = table.column("vector").combine_chunks()
    dimension = table.schema.field("vector").type.list_size
    values: Floats = vectors.flatten().to_numpy(zero_copy_only=False).reshape(-1, dimension)
    lists: dict[str, Any] = {
        name: table.column(name).to_pylist() for name in table.column_names if name not in ("vector", "attributes")
    }
    lists["attributes"] = [dict(pairs) for pairs in table.column("attributes").to_pylist()]
    lists["vector"] = values
    return map(Row, *(lists[name] for name in Row.__slots__))


def _json(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, ensure_ascii=False, indent=1) + "\n").encode()


def _parsed(content: bytes, where: str) -> dict[str, Any]:
    try:
        values = json.loads(content)
        found = values["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise ShardError(f"{where} cannot be read: it is not what `exemplar index` wrote") from error
    if found != _FORMAT:
        raise ShardError(f"{where} is of format {found}; this version reads format {_FORMAT}")
    return dict(values)
