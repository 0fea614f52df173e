"""The calibration that several modules judge, fitted once."""

from __future__ import annotations

import pytest

from exemplar_encoder import Calibration
from exemplar_trainer.calibration.from_held_out import fit_calibration
from tests.trainer.calibration.six_groups import EMBEDDINGS, SET


@pytest.fixture(scope="session")
def calibration() -> Calibration:
    """Return a calibration fitted on all classes of the six groups."""
    return fit_calibration(EMBEDDINGS, SET)
