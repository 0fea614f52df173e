"""The name to act on is there where the verdict is MATCH, and nowhere else."""

from __future__ import annotations

import pytest

from exemplar import Classification, Match, Verdict


@pytest.mark.parametrize("verdict", Verdict)
def test_only_a_match_has_a_name_to_act_on(verdict: Verdict) -> None:
    nearest = Match("penny-black", "Penny Black", {}, 0.25, 0.9)
    answer = Classification(verdict, 0.9, (nearest,), 0.5, 0.05, 0.1, "m", 1)
    assert answer.class_id == ("penny-black" if verdict is Verdict.MATCH else None)
    assert answer.matches[0] is nearest
