"""Standard error carries what people should read, and no notes of native code."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from exemplar_encoder import load_encoder
from exemplar_encoder.engines.native_notes import without_native_notes


def test_notes_are_dropped_and_everything_else_is_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    with without_native_notes():
        os.write(2, b"INFO: Created a delegate.\nERROR: no memory\n")
    os.write(2, b"INFO: after the block\n")
    assert capfd.readouterr().err == "ERROR: no memory\nINFO: after the block\n"


def test_loading_an_encoder_writes_nothing(tiny_bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_encoder(tiny_bundle)
    assert capfd.readouterr() == ("", "")
