"""`make sbom` lists what a server is made of."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_bill_of_materials_has_every_pinned_package_with_its_hashes(tmp_path: Path) -> None:
    recipe = next(line for line in (ROOT / "Makefile").read_text().splitlines() if "cyclonedx-py" in line)
    command = recipe.strip().removeprefix("@$(BIN)/").replace("sbom.json", str(tmp_path / "sbom.json"))
    subprocess.run([ROOT / ".venv/bin/cyclonedx-py", *command.split()[1:]], cwd=ROOT, check=True, capture_output=True)
    found = json.loads((tmp_path / "sbom.json").read_text())
    listed = {each["name"]: each["version"] for each in found["components"]}
    pinned = re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==([\w.]+)", (ROOT / "requirements/server.txt").read_text(), re.M)
    assert len(pinned) > 20
    assert {name.lower(): version for name, version in pinned} == {
        name.lower(): version for name, version in listed.items()
    }
    assert all(each["externalReferences"][0]["hashes"] for each in found["components"])
    assert found["metadata"]["component"]["name"] == "exemplar"
