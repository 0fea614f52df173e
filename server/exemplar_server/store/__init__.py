"""Where galleries live: one interface, `GalleryStore`, and what implements it.

Only this package knows SQLite and FAISS.
"""

from exemplar_server.store.gallery_store import GalleryStore
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
    "NewClass",
    "NewExemplar",
    "Pair",
    "RepeatedRequest",
    "Request",
    "Search",
    "StoredClass",
]
