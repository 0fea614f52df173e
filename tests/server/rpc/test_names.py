"""Names, ids and page tokens: the rules for them, and errors that name the field."""

from __future__ import annotations

import pytest

from exemplar.names import class_name
from exemplar_server.errors import InvalidArgumentError
from exemplar_server.rpc import names


@pytest.mark.parametrize("class_id", ["a", "penny black", "全角\u3000空白", "no\u00a0break", ".", "x" * 128])
def test_a_class_may_have_any_text_as_its_id(class_id: str) -> None:
    name = class_name("g", names.check_class_id("class_id", class_id))
    assert names.parse_class("name", name) == ("g", class_id)


@pytest.mark.parametrize("class_id", ["", "a/b", "a\n", "\x7f", "\x85", "x" * 129])
def test_an_id_that_no_class_may_have_is_refused_naming_the_field(class_id: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^enrollment\.class_id: a class id ") as refused:
        names.check_class_id("enrollment.class_id", class_id)
    assert refused.value.metadata == {"field": "enrollment.class_id"}


@pytest.mark.parametrize("token", ["x", "eA==", "\u00e9", names.page_token("a")[:-1]])
def test_a_page_token_that_was_not_given_out_is_refused(token: str) -> None:
    with pytest.raises(InvalidArgumentError, match="page_token"):
        names.page(0, token)


@pytest.mark.parametrize("last_id", ["a", "ä/", "\U0001d11e"])
def test_a_page_token_says_where_to_go_on(last_id: str) -> None:
    assert names.page(7, names.page_token(last_id)) == (7, last_id)
    assert names.page(0, "") == (names.DEFAULT_PAGE, "")
    assert names.page(10**9, "") == (names.MAX_PAGE, "")
