"""Pages from templates: one HTML file each, which opens without a server or a network.

Whatever a template is given is escaped, so names of classes, groups and files may hold anything.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_TEMPLATES = Path(__file__).with_name("templates")


def render(template: str, title: str, lead: str, *, folder: Path = _TEMPLATES, **values: Any) -> str:
    """Render a page.

    Args:
        template: a file of `folder` that extends `base.html`.
        title: the page's heading.
        lead: a sentence below it.
        folder: more templates, beside those of this package.
        values: the template's own.
    """
    environment = Environment(
        loader=FileSystemLoader([folder, _TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(title=title, lead=lead, **values)


def png_uri(content: bytes) -> str:
    """Return a PNG file as a reference that holds it whole."""
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")
