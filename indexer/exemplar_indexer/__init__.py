"""Bulk jobs: enrolls a class for every image of a folder or a manifest, and survives being killed on the way."""

from exemplar_indexer.sources import Item, Problem, SourceError, open_source

__all__ = ["Item", "Problem", "SourceError", "open_source"]
