# Generated from exemplar/aio/__init__.py by `make proto`: change that, not this.
"""The synchronous client."""
