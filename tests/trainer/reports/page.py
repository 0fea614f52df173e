"""A page as a browser would read it."""

from __future__ import annotations

import html.parser

_VOID = ("meta", "img", "br", "link")
_REFERENCES = ("src", "href", "srcset", "action", "data", "poster")


class Page(html.parser.HTMLParser):
    """Collects the tags of a page, the text between them, and whatever it refers to.

    Attributes:
        text: the page's source.
        tags: names of all elements.
        texts: every run of text.
        heads: the heads of its tables.
        attributes: values of all attributes.
        references: those that name something to be loaded.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.heads: list[str] = []
        self.attributes: list[str] = []
        self.references: list[str] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [value or "" for _, value in attrs]
        self.references += [value or "" for name, value in attrs if name in _REFERENCES]
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self._open and self._open[-1] == "th":
            self.heads.append(data)

    def assert_self_contained(self) -> None:
        """Assert that every element is closed, and that a browser loads nothing."""
        assert self._open == []
        assert self.references
        assert all(reference.startswith("data:image/png;base64,") for reference in self.references)
        assert "@import" not in self.text
        assert "url(" not in self.text
        assert not self.tags & {"script", "link", "iframe", "object"}
