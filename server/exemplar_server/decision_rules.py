"""The decision rules of galleries as they stand, each worked out once.

A rule holds for one state of a gallery and one false-accept rate. It takes a tenth of a millisecond to make, which
every query of every batch would pay.
"""

from __future__ import annotations

from exemplar_encoder import Calibration, DecisionRule
from exemplar_encoder.arrays import Floats
from exemplar_server.store.records import Gallery

# Callers choose rates, so there may be any number of them.
_MOST = 1024


class DecisionRules:
    """Makes rules, and keeps those of each gallery's latest state."""

    def __init__(self, default: Calibration) -> None:
        """Make rules by `default` for galleries without a calibration of their own."""
        self._default = default
        self._kept: dict[tuple[str, float | None], tuple[Gallery, DecisionRule]] = {}

    def rule(self, gallery: Gallery, gaps: Floats | None, rate: float | None = None) -> DecisionRule:
        """Return the rule for a gallery in the state that was searched.

        Args:
            gallery: that state.
            gaps: of the same state, see `Search`.
            rate: the false-accept rate asked for; None for the gallery's, else the calibration's.
        """
        state, rule = self._kept.get((gallery.id, rate), (None, None))
        if rule is None or state != gallery:
            rule = self.make(gallery, gallery.class_count, gaps, rate)
            if len(self._kept) >= _MOST:
                self._kept.clear()
            self._kept[gallery.id, rate] = gallery, rule
        return rule

    def make(
        self, gallery: Gallery, class_count: int, gaps: Floats | None, rate: float | None = None
    ) -> DecisionRule:
        """Make the rule for a gallery if it held `class_count` classes; as `rule`, but not kept."""
        calibration = gallery.calibration or self._default
        return DecisionRule(calibration, class_count, gaps, rate or gallery.false_accept_rate)
