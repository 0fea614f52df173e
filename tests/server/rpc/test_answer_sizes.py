"""What an answer will take is known before it is built, and never less than it takes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from exemplar_encoder import Verdict
from exemplar_server.classifier import Classification
from exemplar_server.errors import ResourceExhaustedError
from exemplar_server.recent_queries import OtherKindOfPicture
from exemplar_server.rpc import messages
from exemplar_server.rpc.answer_sizes import AnswerSizes
from exemplar_server.store.records import Candidate

TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)
CANDIDATES = st.builds(
    Candidate, TEXTS.filter(bool), TEXTS, st.dictionaries(TEXTS, TEXTS, max_size=4), st.floats(0, 100, width=32)
)


def answer(matches: list[Candidate]) -> Classification:
    other = OtherKindOfPicture(recent_queries=100, unknown_queries=99, shift=0.5, most_exemplars=16)
    told = [(each, 0.123456789) for each in matches]
    return Classification(Verdict.UNKNOWN, 0.123456789, told, 1.234567, 0.05, 0.01, "f" * 64, 2**62, other)


@given(st.lists(CANDIDATES, max_size=8, unique_by=lambda each: each.class_id), TEXTS)
def test_an_answer_takes_no_more_than_was_counted(matches: list[Candidate], gallery: str) -> None:
    limit = 1_000_000
    sizes = AnswerSizes(gallery, limit)
    assert not isinstance(sizes.take(answer(matches)), ResourceExhaustedError)
    taken = messages.classification(answer(matches), gallery).ByteSize() + 8
    assert taken <= limit - sizes._left


def test_answers_that_no_more_fit_are_errors_in_their_places() -> None:
    sizes = AnswerSizes("g", 10_000)
    large = answer([Candidate("c", "", {"note": "x" * 4000}, 1.0)])
    taken = [sizes.take(large) for _ in range(3)]
    assert [isinstance(each, ResourceExhaustedError) for each in taken] == [False, True, True]
    assert not isinstance(sizes.take(answer([])), ResourceExhaustedError)
