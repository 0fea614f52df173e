"""Names and counts read as a sentence would have them."""

from __future__ import annotations

import pytest

from exemplar_trainer.data.wording import abridged, plural


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b", "c", "d", "e"], "a, b, c, d, e"),
        (["a", "b", "c", "d", "e", "f", "g"], "a, b, c, d, e and 2 more"),
    ],
)
def test_a_long_list_of_names_is_cut_and_counted(names: list[str], words: str) -> None:
    assert abridged(names) == words


def test_a_noun_is_in_the_number_of_its_count() -> None:
    assert [plural(count, "image") for count in (0, 1, 2, 1200)] == [
        "0 images",
        "1 image",
        "2 images",
        "1,200 images",
    ]
    assert [plural(count, "class", "classes") for count in (1, 2)] == ["1 class", "2 classes"]
