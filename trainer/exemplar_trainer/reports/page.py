"""The parts that reports are made of: one HTML file each, which opens without a server or a network."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

from PIL import Image

from exemplar_encoder.arrays import Pixels

_THUMBNAIL = 64

_STYLE = """
:root { color-scheme: light; --ink: #111827; --soft: #6b7280; --line: #e5e7eb; --good: #15803d; --bad: #b91c1c; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 1080px;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p.lead, figcaption, .soft { color: var(--soft); }
table { border-collapse: collapse; }
th, td { padding: .3rem .9rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; padding-left: 0; } td { font-variant-numeric: tabular-nums; }
.lines th, .lines td { white-space: pre-line; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; } .plots img { max-width: 520px; width: 100%; }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); gap: .6rem; }
.card { border: 1px solid var(--line); border-radius: 6px; padding: .5rem; font-size: .75rem; }
.card div { display: flex; gap: .5rem; } .card figure { margin: 0; text-align: center; white-space: pre-line; }
.card p { margin: .3rem 0 0; }
.card img { width: 64px; height: 64px; object-fit: contain; background: #fff; border: 1px solid var(--line); }
.miss { border-left: 3px solid var(--bad); } .hit { border-left: 3px solid var(--good); }
"""


def document(title: str, lead: str, body: str) -> str:
    """A page; `body` is HTML, the rest is plain text."""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{escape(title)}</title><style>{_STYLE}</style></head><body>
<h1>{escape(title)}</h1>
<p class="lead">{escape(lead)}</p>
{body}
</body></html>
"""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of plain text."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def plain(text: str) -> str:
    """Text as HTML."""
    return escape(text)


def card(kind: str, pictures: Sequence[tuple[str, str, str]], caption: str = "") -> str:
    """Pictures side by side: (name, data URI, words below) each. `kind` is `hit` or `miss`."""
    figures = "".join(
        f'<figure><img alt="{escape(name)}" title="{escape(name)}" src="{uri}">'
        f"<figcaption>{escape(words)}</figcaption></figure>"
        for name, uri, words in pictures
    )
    below = f"<p>{escape(caption)}</p>" if caption else ""
    return f'<div class="card {kind}"><div>{figures}</div>{below}</div>'


def sheet(cards: Sequence[str]) -> str:
    """A contact sheet of cards."""
    return f'<div class="sheet">{"".join(cards)}</div>'


def thumbnail(pixels: Pixels) -> str:
    """An input `[height, width, channels]` as the network sees it, as a data URI."""
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
