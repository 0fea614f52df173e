"""Bulk jobs: enroll a class for every image of a folder or a manifest, and survive being killed on the way."""

from exemplar_indexer.items import Item, Problem, SourceError
from exemplar_indexer.sources import open_source

__all__ = ["Item", "Problem", "SourceError", "open_source"]
