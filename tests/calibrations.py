"""A calibration that is nobody's fit, for what only has to be kept, sent and applied."""

from __future__ import annotations

import math

from exemplar_encoder import Calibration


def made_up(factor: float = 0.5) -> Calibration:
    """Return a calibration whose thresholds are `factor` times the spacing, twice that at a rate of 1.

    Its numbers have no short decimals.
    """
    return Calibration(
        default_false_accept_rate=0.05,
        ambiguity_margin=math.pi / 100,
        ambiguity_error_rate=0.02,
        fitted_on="nothing",
        gallery_sizes=(1, 20),
        typical_spacings=(math.sqrt(0.5), 0.7),
        false_accept_rates=(0.01, 0.1, 1.0),
        factors=((factor, factor, 2 * factor), (factor, factor, 2 * factor)),
        distance_weight=8.1,
        unknown_intercept=-1.2,
        unknown_spacing=6.3,
        nearest_share=0.1,
        distance_power=2,
        ambiguity_spacing=math.e / 3,
    )
