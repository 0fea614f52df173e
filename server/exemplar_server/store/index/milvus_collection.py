"""A model's collection on a Milvus server, shared by all its galleries, and made where it is missing.

Every call ends within seconds. One that fails raises `UnavailableError` and leaves open what it did; a later one
finds the server again, whether that was started anew, emptied or both. Importing this module takes pymilvus and
pandas along, a third of a second and 90 MB: leave it to those who use Milvus.

An entity has a key, the gallery that it belongs to, a row and a vector. All reading is at consistency level `Strong`.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import grpc
import numpy as np
import structlog
from pymilvus import DataType, MilvusClient, MilvusException

from exemplar_encoder.arrays import Floats, Ints
from exemplar_server.errors import UnavailableError

Answer = TypeVar("Answer")

# For a call. An int, since pymilvus bounds some of its waits by nothing else.
_SECONDS = 5
_CONNECT_SECONDS = 2
_PAUSE = 1.0
# gRPC would wait up to two minutes between its attempts to reach a server that was away.
_CHANNEL = {"grpc.initial_reconnect_backoff_ms": 100, "grpc.max_reconnect_backoff_ms": int(_PAUSE * 1000)}
_PAGE = 10_000
_NOT_FOUND, _NOT_LOADED = 100, 101

_log = structlog.get_logger()


@dataclass(frozen=True)
class MilvusServer:
    """Where a Milvus server is.

    Attributes:
        address: `http://host:port`, or `https://host:port` for TLS.
        token: `user:password` or an API key, where the server asks for one.
        tls_ca: certificates in PEM to trust instead of the system's.
    """

    address: str
    token: str = field(default="", repr=False)
    tls_ca: Path | None = None


class MilvusCollection:
    """See the module. Every method may be called from any thread.

    Args:
        server: where it is.
        model: the id of the model whose vectors it holds.
        dimension: of the vectors.
    """

    def __init__(self, server: MilvusServer, model: str, dimension: int) -> None:
        self.dimension = dimension
        self.name = "exemplar_" + hashlib.blake2b(model.encode(), digest_size=8).hexdigest()
        self._server = server
        self._model = model
        self._client: MilvusClient | None = None
        self._loaded = False
        self._reported = False
        self._failed_at = -_PAUSE
        self._lock = threading.Lock()

    def put(self, gallery: str, keys: Ints, rows: Ints, vectors: Floats) -> None:
        """Write entities, in place of those with the same keys."""
        entities = [
            {"key": key, "gallery": gallery, "row": row, "vector": vector}
            for key, row, vector in zip(keys.tolist(), rows.tolist(), vectors, strict=True)
        ]
        if entities:
            # An insert would keep two entities with one key where it comes twice.
            self._call(lambda client: client.upsert(self.name, entities, timeout=_SECONDS))

    def delete(self, keys: Ints) -> None:
        """Delete the entities with these keys, where they are there."""
        if len(keys):
            self._call(lambda client: client.delete(self.name, ids=keys.tolist(), timeout=_SECONDS))

    def delete_gallery(self, gallery: str) -> None:
        """Delete all entities of a gallery."""
        self._call(lambda client: client.delete(self.name, filter=_of(gallery), timeout=_SECONDS))

    def present(self, keys: Ints) -> Ints:
        """Return those of `keys` int64 `[n]` that are there."""
        return self._query(f"key in {keys.tolist()}")[0]

    def entities_of(self, gallery: str, rows: Ints) -> tuple[Ints, Ints]:
        """Return keys and rows int64 `[m]` of a gallery's entities with one of `rows` int64 `[n]`."""
        return self._query(f"{_of(gallery)} and row in {rows.tolist()}")

    def entities(self, gallery: str) -> tuple[Ints, Ints]:
        """Return keys and rows int64 `[n]` of all entities of a gallery."""

        def read(client: MilvusClient) -> list[Any]:
            iterator = client.query_iterator(
                self.name, _PAGE, filter=_of(gallery), output_fields=["row"], timeout=_SECONDS, **_STRONG
            )
            found: list[Any] = []
            while page := iterator.next():
                found.extend(page)
            iterator.close()
            return found

        return _keys_and_rows(self._call(read))

    def count(self, gallery: str) -> int:
        """Return how many entities a gallery has."""
        found = self._call(
            lambda client: client.query(
                self.name, _of(gallery), output_fields=["count(*)"], timeout=_SECONDS, **_STRONG
            )
        )
        return int(found[0]["count(*)"])

    def search(self, gallery: str, queries: Floats, limit: int) -> tuple[Ints, Ints, Floats]:
        """Return the `limit` nearest entities of a gallery to each of `queries` float32 `[n, dimension]`.

        Returns:
            Keys and rows int64 `[n, limit]` and squared distances float32 `[n, limit]` as Milvus computed them, in
            ascending order; infinity where there is no further entity.
        """
        answer = self._call(
            lambda client: client.search(
                self.name,
                list(queries),
                anns_field="vector",
                filter=_of(gallery),
                limit=limit,
                output_fields=["row"],
                search_params={"metric_type": "L2"},
                timeout=_SECONDS,
                **_STRONG,
            )
        )
        keys, rows = np.zeros((2, len(queries), limit), np.int64)
        squared = np.full((len(queries), limit), np.inf, np.float32)
        for place, hits in enumerate(answer):
            keys[place, : len(hits)] = [hit["key"] for hit in hits]
            rows[place, : len(hits)] = [hit["entity"]["row"] for hit in hits]
            squared[place, : len(hits)] = [hit["distance"] for hit in hits]
        return keys, rows, squared

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _query(self, condition: str) -> tuple[Ints, Ints]:
        return _keys_and_rows(
            self._call(
                lambda client: client.query(self.name, condition, output_fields=["row"], timeout=_SECONDS, **_STRONG)
            )
        )

    def _call(self, ask: Callable[[MilvusClient], Answer]) -> Answer:
        """Ask the server, a second time where it turns out not to have the collection, or not to have it loaded."""
        try:
            try:
                answer = ask(self._ready())
            except MilvusException as error:
                if error.code not in (_NOT_FOUND, _NOT_LOADED):
                    raise
                self._loaded = False
                answer = ask(self._ready())
        except (MilvusException, grpc.RpcError, OSError) as error:
            raise self._unavailable(error) from error
        self._reported = False
        return answer

    def _ready(self) -> MilvusClient:
        """Return a client of the server, on which the collection is loaded.

        Whoever comes while another tries waits for the outcome, and shares a failure.
        """
        client = self._client
        if client is not None and self._loaded:
            return client
        with self._lock:
            if time.monotonic() < self._failed_at + _PAUSE:
                raise MilvusException(message="it was not there a moment ago")
            try:
                if self._client is None:
                    self._client = _connected(self._server)
                if not self._loaded:
                    self._load(self._client)
                    self._loaded = True
            except (MilvusException, grpc.RpcError, OSError):
                self._failed_at = time.monotonic()
                raise
            return self._client

    def _load(self, client: MilvusClient) -> None:
        """Have the collection loaded; one that is there stays as it is, with whatever index it has."""
        if not client.has_collection(self.name, timeout=_SECONDS):
            schema = client.create_schema(description=f"Exemplar's vectors of the model {self._model}")
            schema.add_field("key", DataType.INT64, is_primary=True)
            schema.add_field("gallery", DataType.VARCHAR, max_length=64, is_partition_key=True)
            schema.add_field("row", DataType.INT64)
            schema.add_field("vector", DataType.FLOAT_VECTOR, dim=self.dimension)
            try:
                client.create_collection(self.name, schema=schema, timeout=_SECONDS, **_STRONG)
            except MilvusException:  # unless another server made it in that moment
                if not client.has_collection(self.name, timeout=_SECONDS):
                    raise
        if not client.list_indexes(self.name, "vector", timeout=_SECONDS):
            index = client.prepare_index_params("vector", index_type="FLAT", metric_type="L2")
            # Not `sync`: it would poll twice a second, and what is not yet indexed is searched all the same.
            client.create_index(self.name, index, timeout=_SECONDS, sync=False)
        client.load_collection(self.name, timeout=_SECONDS)

    def _unavailable(self, error: Exception) -> UnavailableError:
        if not self._reported:
            reason = error.details() if isinstance(error, grpc.Call) else str(error)
            _log.warning("Milvus does not answer as it should", address=self._server.address, reason=reason)
            self._reported = True
        return UnavailableError(
            "INDEX_UNAVAILABLE", "the Milvus server of the index does not answer; try again", retry_after=_PAUSE
        )


_STRONG = {"consistency_level": "Strong"}


def _of(gallery: str) -> str:
    return f'gallery == "{gallery}"'


def _keys_and_rows(entities: list[Any]) -> tuple[Ints, Ints]:
    keys = np.array([entity["key"] for entity in entities], np.int64)
    return keys, np.array([entity["row"] for entity in entities], np.int64)


def _connected(server: MilvusServer) -> MilvusClient:
    for name in ("pymilvus", "pymilvus.milvus_client"):  # it would write tracebacks of its own to stderr
        logging.getLogger(name).setLevel(logging.CRITICAL)
    client = MilvusClient(
        server.address,
        token=server.token,
        timeout=_CONNECT_SECONDS,
        dedicated=True,
        server_pem_path="" if server.tls_ca is None else str(server.tls_ca),
        grpc_options=_CHANNEL,
    )
    # pymilvus would try to connect anew for each call that failed, one after the other, and keep every old channel.
    # A channel does that by itself: a call fails at once instead, and a later one gets through.
    client._get_connection()._on_rpc_error = _raise
    return client


def _raise(error: Exception) -> bool:
    raise error
