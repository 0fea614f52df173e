"""The Python examples of the documents run, in order, against a real server."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from PIL import Image

from demo.server_process import ServerProcess
from exemplar import Client

ROOT = Path(__file__).resolve().parents[2]
# The galleries that a document takes for granted.
PRESUMED = {
    "README.md": (),
    "docs/quickstart.md": (),
    "docs/reference/python.md": (),
    "docs/guides/calibrate.md": ("letters", "stamps"),
}


def write_pictures(folder: Path, names: set[str], drawings: dict[str, list[bytes]]) -> None:
    """Write a picture of three different drawings, side by side, under each name."""
    found = sorted(drawings.items())
    for place, name in enumerate(sorted(names)):
        sheet = Image.new("L", (960, 400), 255)
        for part in range(3):
            drawing = Image.open(io.BytesIO(found[(place + part) % len(found)][1][0])).convert("L")
            sheet.paste(drawing.resize((300, 300)), (10 + 320 * part, 50))
        sheet.save(folder / name)


@pytest.mark.parametrize("document", PRESUMED)
def test_the_python_examples_of_a_document_run_as_they_stand(
    document: str,
    server: ServerProcess,
    drawings: dict[str, list[bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
    assert blocks
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EXEMPLAR_ADDRESS", server.address)
    write_pictures(tmp_path, set(re.findall(r'"([\w-]+\.jpg)"', "".join(blocks))), drawings)
    with Client() as client:
        for gallery in PRESUMED[document]:
            client.create_gallery(gallery)
        try:
            for block in blocks:
                exec(compile(block, document, "exec"), {"__name__": "example"})
        finally:
            for gallery in ("letters", "stamps"):
                client.delete_gallery(gallery, force=True, allow_missing=True)
