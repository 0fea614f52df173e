"""The page that the demonstration leaves behind: pictures of queries beside what they matched, and the figures."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from demo.measure import Answer
from exemplar import Verdict

_STYLE = """
:root { color-scheme: light; --ink: #111827; --soft: #6b7280; --line: #e5e7eb; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 1100px;
  margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; font-size: 1.7rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; } p { color: var(--soft); }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1.5rem 0; }
.figures div { border: 1px solid var(--line); border-radius: 8px; padding: .6rem 1rem; min-width: 150px; }
.figures b { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
.figures span { color: var(--soft); font-size: .85rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(245px, 1fr)); gap: .8rem; }
.card { border: 1px solid var(--line); border-radius: 8px; padding: .7rem; font-size: .8rem; }
.pair { display: flex; gap: .6rem; align-items: flex-start; } figure { margin: 0; text-align: center; }
.pair img { width: 100px; height: 100px; object-fit: contain; border: 1px solid var(--line); image-rendering: auto; }
figcaption { color: var(--soft); } .card p { margin: .4rem 0 0; color: var(--ink); }
.verdict { font-weight: 600; padding: .05rem .4rem; border-radius: 4px; }
.MATCH { background: #dcfce7; color: #166534; } .AMBIGUOUS { background: #fef9c3; color: #854d0e; }
.UNKNOWN { background: #e5e7eb; color: #374151; } .wrong { border-left: 4px solid #b91c1c; }
.right { border-left: 4px solid #15803d; }
"""


def render_page(
    title: str,
    lead: str,
    figures: Mapping[str, str],
    sections: Mapping[str, Sequence[Answer]],
    exemplars: Mapping[str, Path],
) -> str:
    """One self-contained HTML page.

    Args:
        title: the heading.
        lead: a sentence below it.
        figures: what was measured, by name.
        sections: answers to show, by heading.
        exemplars: the image of each class, by class id.
    """
    tiles = "".join(
        f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>" for name, value in figures.items()
    )
    parts = "".join(
        f'<h2>{escape(heading)}</h2><div class="cards">{"".join(_card(a, exemplars) for a in answers)}</div>'
        for heading, answers in sections.items()
        if answers
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{escape(title)}</title><style>{_STYLE}</style></head><body>
<h1>{escape(title)}</h1><p>{escape(lead)}</p>
<div class="figures">{tiles}</div>
{parts}
</body></html>
"""


def _card(answer: Answer, exemplars: Mapping[str, Path]) -> str:
    best = answer.answer.matches[0]
    verdict = answer.answer.verdict
    good = verdict is Verdict.UNKNOWN if answer.truth is None else answer.right and verdict is not Verdict.UNKNOWN
    truth = answer.truth.display_name if answer.truth else "a character that is not enrolled"
    return f"""<div class="card {"right" if good else "wrong"}"><div class="pair">
<figure><img alt="query" src="{_data_uri(answer.query)}"><figcaption>query</figcaption></figure>
<figure><img alt="nearest" src="{_data_uri(exemplars[best.class_id])}"><figcaption>nearest</figcaption></figure>
</div><p><span class="verdict {verdict}">{verdict}</span> {escape(best.display_name)}</p>
<p>probability {best.probability:.2f}, distance {best.distance:.2f} (threshold {answer.answer.threshold:.2f})<br>
shows {escape(truth)}</p></div>"""


def _data_uri(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
