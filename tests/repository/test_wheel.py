"""The wheel carries the files that the packages read beside their modules."""

from __future__ import annotations

import zipfile
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]


def test_the_templates_of_the_reports_are_in_the_wheel(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
    templates = list((ROOT / "trainer/exemplar_trainer/reports/templates").iterdir())
    assert len(templates) > 3
    assert {path.relative_to(ROOT / "trainer").as_posix() for path in templates} <= names
