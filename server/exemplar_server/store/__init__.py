"""Where galleries live: one interface, `GalleryStore`, and what implements it.

Only this package knows SQLite and FAISS.
"""

from exemplar_server.store.embedded import EmbeddedStore
from exemplar_server.store.gallery_store import (
    Candidate,
    ClassRecord,
    Enrolled,
    Exemplar,
    Gallery,
    GalleryChanges,
    GalleryStore,
    NewClass,
    NewExemplar,
    Pair,
    Search,
)

__all__ = [
    "Candidate",
    "ClassRecord",
    "EmbeddedStore",
    "Enrolled",
    "Exemplar",
    "Gallery",
    "GalleryChanges",
    "GalleryStore",
    "NewClass",
    "NewExemplar",
    "Pair",
    "Search",
]
