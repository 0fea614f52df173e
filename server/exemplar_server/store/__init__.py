"""Where galleries live: `GalleryStore`, which is a truth in a database and indexes that follow it."""

from exemplar_server.store.gallery_store import GalleryStore
from exemplar_server.store.opening import IndexOptions, open_snapshot, open_store, open_truth
from exemplar_server.store.records import (
    Candidate,
    ClassRecord,
    Exemplar,
    Gallery,
    GalleryChanges,
    NewClass,
    NewExemplar,
    Pair,
    Search,
    StoredClass,
)
from exemplar_server.store.request import RepeatedRequest, Request

__all__ = [
    "Candidate",
    "ClassRecord",
    "Exemplar",
    "Gallery",
    "GalleryChanges",
    "GalleryStore",
    "IndexOptions",
    "NewClass",
    "NewExemplar",
    "Pair",
    "RepeatedRequest",
    "Request",
    "Search",
    "StoredClass",
    "open_snapshot",
    "open_store",
    "open_truth",
]
