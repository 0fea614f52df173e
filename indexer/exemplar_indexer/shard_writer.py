"""Writing a shard: rows in, and in the end a file with its receipt, or nothing.

The same rows make the same bytes, whoever writes them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from exemplar_encoder.arrays import Floats
from exemplar_indexer.outcomes import Note
from exemplar_indexer.shard_folder import ShardFolder
from exemplar_indexer.shards import Receipt, Row, receipt_bytes, receipt_name, schema, shard_name

# A group of rows is what is held in the memory at a time, by whoever writes and by whoever reads.
_GROUP_ROWS = 1024
_GROUP_BYTES = 32 * 1024 * 1024


class ShardWriter:
    """Takes the rows of one shard and what is not in it; see `writing_shard`."""

    def __init__(self, parquet: pq.ParquetWriter, columns: pa.Schema) -> None:
        self._parquet = parquet
        self._columns = columns
        self._rows: list[Row] = []
        self._bytes = 0
        self.written = 0
        self.failures: list[Note] = []

    def add(self, row: Row) -> None:
        """Write a class."""
        self._rows.append(row)
        self._bytes += len(row.image or b"")
        if len(self._rows) == _GROUP_ROWS or self._bytes >= _GROUP_BYTES:
            self.flush()

    def fail(self, note: Note) -> None:
        """Note that an item is not in the shard."""
        self.failures.append(note)

    def flush(self) -> None:
        """Write the rows that are held as a group."""
        if self._rows:
            columns = [_column(self._rows, field) for field in self._columns]
            self._parquet.write_table(pa.Table.from_arrays(columns, schema=self._columns))
            self.written += len(self._rows)
            self._rows, self._bytes = [], 0


@contextmanager
def writing_shard(folder: ShardFolder, number: int, plan: str, dimension: int) -> Iterator[ShardWriter]:
    """Give a writer; when the block ends well the shard is put in place, and then its receipt.

    Args:
        folder: Where to.
        number: The shard's.
        plan: SHA-256 of the part of the plan that it is made of.
        dimension: Length of a vector.
    """
    columns = schema(dimension)
    with folder.writing(shard_name(number)) as path:
        # Vectors and pictures do not get smaller by a dictionary; it would only cost.
        with pq.ParquetWriter(path, columns, compression="zstd", use_dictionary=["format", "model"]) as parquet:
            writer = ShardWriter(parquet, columns)
            yield writer
            writer.flush()
        receipt = Receipt(_sha256(path), path.stat().st_size, writer.written, plan, tuple(writer.failures))
    folder.write(receipt_name(number), receipt_bytes(receipt))


def _column(rows: Sequence[Row], field: pa.Field) -> pa.Array:
    if field.name == "vector":
        return _vectors([row.vector for row in rows], field.type)
    values = [getattr(row, field.name) for row in rows]
    if field.name == "attributes":
        values = [list(value.items()) for value in values]
    return pa.array(values, field.type)


def _vectors(vectors: Sequence[Floats], kind: pa.DataType) -> pa.Array:
    flat = np.ascontiguousarray(np.stack(vectors), np.float32).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), type=kind)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
