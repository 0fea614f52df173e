"""Measure one vector database; run by `benchmarks.vector_databases` with an environment that has it.

`python vector_database_worker.py NAME FOLDER` reads vectors, queries and the true nearest from files in the folder, and
prints recall, milliseconds and what was set as JSON. One query at a time, in one process with the database; ids and
distances of 16 neighbors are asked for, and nothing else. The least setting that reaches a recall@1 of 0.99 on half of
the queries is taken, and figures are of the other half.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

NEAREST = 16
RECALL = 0.99
SETTINGS = 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512
ALONE = (0,)
SECONDS = 20

os.environ["OMP_NUM_THREADS"] = "1"  # building with hnswlib and usearch sets its own


def faiss_flat(vectors):
    return faiss_index("Flat", vectors), None, ALONE


def faiss_hnsw(vectors):
    import faiss

    faiss.omp_set_num_threads(2)
    index = faiss.index_factory(vectors.shape[1], "HNSW32,Flat")
    index.add(vectors)
    faiss.omp_set_num_threads(1)

    def choose(setting):
        index.hnsw.efSearch = setting

    return lambda query: index.search(query[None], NEAREST)[1][0], choose, SETTINGS


def faiss_ivf(vectors):
    import faiss

    index = faiss.index_factory(vectors.shape[1], "IVF1024,Flat")
    index.train(vectors[:65536])
    index.add(vectors)

    def choose(setting):
        index.nprobe = setting

    return lambda query: index.search(query[None], NEAREST)[1][0], choose, SETTINGS


def faiss_index(factory, vectors):
    import faiss

    index = faiss.index_factory(vectors.shape[1], factory)
    index.add(vectors)
    return lambda query: index.search(query[None], NEAREST)[1][0]


def with_hnswlib(vectors):
    import hnswlib

    index = hnswlib.Index(space="l2", dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors), M=16, ef_construction=100)
    index.add_items(vectors, num_threads=2)
    return lambda query: index.knn_query(query, NEAREST, num_threads=1)[0][0], index.set_ef, SETTINGS[1:]


def with_usearch(vectors):
    import numpy
    from usearch.index import Index

    index = Index(ndim=vectors.shape[1], metric="l2sq", connectivity=16, expansion_add=100)
    index.add(numpy.arange(len(vectors)), vectors, threads=2)

    def choose(setting):
        index.expansion_search = setting

    return lambda query: index.search(query, NEAREST, threads=1).keys, choose, SETTINGS[1:]


def with_chroma(vectors):
    import chromadb

    client = chromadb.EphemeralClient(chromadb.Settings(anonymized_telemetry=False))
    hnsw = {"space": "l2", "ef_construction": 100, "max_neighbors": 16, "ef_search": 64, "num_threads": 1}
    collection = client.create_collection("large", configuration={"hnsw": hnsw})
    for first in range(0, len(vectors), 5000):
        part = vectors[first : first + 5000]
        collection.add(ids=[str(first + place) for place in range(len(part))], embeddings=part)

    def choose(setting):
        collection.modify(configuration={"hnsw": {"ef_search": setting}})

    def search(query):
        return [
            int(name) for name in collection.query(query[None], n_results=NEAREST, include=["distances"])["ids"][0]
        ]

    return search, choose, SETTINGS[1:]


def with_lancedb(vectors):
    import lancedb
    import pyarrow

    size = vectors.shape[1]
    column = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(vectors.ravel()), size)
    table = lancedb.connect(tempfile.mkdtemp()).create_table(
        "large", pyarrow.table({"id": pyarrow.array(range(len(vectors))), "vector": column})
    )
    table.create_index(metric="l2", num_partitions=256, num_sub_vectors=size // 4)
    setting_now = {}

    def search(query):
        asked = table.search(query).nprobes(setting_now["nprobes"]).refine_factor(4).limit(NEAREST).select(["id"])
        return asked.to_arrow()["id"].to_pylist()

    return search, lambda setting: setting_now.update(nprobes=setting), SETTINGS


def with_qdrant(vectors):
    from qdrant_client import QdrantClient, models

    client = QdrantClient(":memory:")
    shape = models.VectorParams(size=vectors.shape[1], distance=models.Distance.EUCLID)
    client.create_collection("large", vectors_config=shape)
    client.upload_collection("large", vectors=vectors, ids=range(len(vectors)))
    return (
        lambda query: [point.id for point in client.query_points("large", query=query, limit=NEAREST).points],
        None,
        ALONE,
    )


def with_milvus(vectors):
    from pymilvus import MilvusClient

    client = MilvusClient(str(Path(tempfile.mkdtemp()) / "large.db"))
    params = client.prepare_index_params()
    params.add_index("vector", index_type="IVF_FLAT", metric_type="L2", params={"nlist": 1024})
    schema = client.create_schema(auto_id=False)
    from pymilvus import DataType

    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=vectors.shape[1])
    client.create_collection("large", schema=schema, index_params=params)
    for first in range(0, len(vectors), 5000):
        part = vectors[first : first + 5000]
        client.insert("large", [{"id": first + place, "vector": vector} for place, vector in enumerate(part)])
    client.flush("large")
    client.load_collection("large")
    setting_now = {}

    def search(query):
        asked = {"metric_type": "L2", "params": {"nprobe": setting_now["nprobe"]}}
        return [hit["id"] for hit in client.search("large", [query.tolist()], limit=NEAREST, search_params=asked)[0]]

    return search, lambda setting: setting_now.update(nprobe=setting), SETTINGS


DATABASES = {
    "FAISS flat": faiss_flat,
    "FAISS HNSW": faiss_hnsw,
    "FAISS IVF": faiss_ivf,
    "hnswlib": with_hnswlib,
    "usearch": with_usearch,
    "Chroma": with_chroma,
    "LanceDB": with_lancedb,
    "Qdrant, local": with_qdrant,
    "Milvus Lite": with_milvus,
}


def measure(search, choose, settings, queries, nearest):
    """Set it and measure it; `search` returns the places found for one query, the nearest first."""
    half = len(queries) // 2
    for setting in settings:
        if choose is not None:
            choose(setting)
        recall, _ = asked(search, queries[:half], nearest[:half])
        if recall >= RECALL:
            break
    recall, seconds = asked(search, queries[half:], nearest[half:])
    seconds.sort()
    return {
        "recall_1": recall,
        "p50": 1000 * seconds[len(seconds) // 2],
        "p99": 1000 * seconds[int(len(seconds) * 0.99)],
        "setting": setting,
    }


def asked(search, queries, nearest):
    """Return recall@1 and the seconds of each query, of fewer than all where they take long."""
    hits, seconds, started = 0, [], time.perf_counter()
    for query, right in zip(queries, nearest):  # noqa: B905
        begun = time.perf_counter()
        found = search(query)
        seconds.append(time.perf_counter() - begun)
        hits += int(found[0]) == int(right)
        if time.perf_counter() - started > SECONDS:
            break
    return hits / len(seconds), seconds


def main():
    """Print the figures of one database."""
    import numpy

    name, folder = sys.argv[1], Path(sys.argv[2])
    vectors, queries = numpy.load(folder / "vectors.npy"), numpy.load(folder / "queries.npy")
    nearest = numpy.load(folder / "nearest.npy")[:, 0]
    begun = time.perf_counter()
    made = DATABASES[name](vectors)
    built = time.perf_counter() - begun
    print("\n" + json.dumps({**measure(*made, queries, nearest), "build": built}), flush=True)
    os._exit(0)  # some leave threads behind that never end


if __name__ == "__main__":
    main()
