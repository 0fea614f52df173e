"""Which ids a class may have."""

from __future__ import annotations

import pytest

from exemplar.names import MAX_ID_LENGTH, class_id_problem


@pytest.mark.parametrize(
    "class_id", ["a", "penny black", "全角\u3000空白", "no\u00a0break", "été", "🖋", "a:b", ".", "x" * MAX_ID_LENGTH]
)
def test_any_text_may_be_an_id(class_id: str) -> None:
    assert class_id_problem(class_id) is None


@pytest.mark.parametrize("class_id", ["", "x" * (MAX_ID_LENGTH + 1)])
def test_an_id_has_a_length(class_id: str) -> None:
    assert f"1 to 128 characters; this one has {len(class_id)}" in str(class_id_problem(class_id))


@pytest.mark.parametrize("part", ["/", "\0", "\n", "\x1f", "\x7f", "\x85", "\udcff"])
def test_what_would_break_a_name_or_a_line_is_refused_and_shown(part: str) -> None:
    message = str(class_id_problem(f"a{part}b"))
    assert "no '/' and no control characters" in message
    assert message.isprintable()
