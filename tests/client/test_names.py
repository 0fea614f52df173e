"""Which ids a class may have: one table, for whoever asks before sending and for the server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exemplar.names import MAX_ID_LENGTH, class_id_problem
from exemplar_indexer import Item, Problem, open_source
from exemplar_server.errors import ServiceError
from exemplar_server.rpc.names import check_class_id

ALLOWED = {
    "letter": "a",
    "space": "penny black",
    "ideographic space": "全角\u3000空白",
    "no-break space": "no\u00a0break",
    "accent": "été",
    "picture": "🖋",
    "picture of several, joined": "👩\u200d👧",
    "variation": "❤\ufe0f",
    "zero-width non-joiner": "می\u200cخواهم",
    "zero-width joiner": "ක්\u200dෂ",
    "right to left": "עברית",
    "colon": "a:b",
    "dot": ".",
    "quotes": 'it\'s; "quoted"',
    "longest": "x" * MAX_ID_LENGTH,
}

REFUSED = {
    "nothing": ("", "1 to 128 characters; this one has 0"),
    "too long": ("x" * (MAX_ID_LENGTH + 1), "1 to 128 characters; this one has 129"),
    **{
        f"U+{ord(part):04X}": (f"a{part}b", "no '/', no control characters and no marks of direction")
        for part in "/\0\n\x1f\x7f\x85\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    },
    "surrogate of a file name": ("a\udcffb", "not UTF-8"),
    "surrogate of JSON": ("a\ud800b", "not UTF-8"),
    "space before": (" a", "neither begins nor ends with white space"),
    "space behind": ("a ", "neither begins nor ends with white space"),
    "ideographic space before": ("\u3000a", "neither begins nor ends with white space"),
    "no-break space behind": ("a\u00a0", "neither begins nor ends with white space"),
    "a space": (" ", "neither begins nor ends with white space"),
    "joiners": ("\u200d\u200c", "something that can be seen"),
    "zero-width space": ("\u200b", "something that can be seen"),
    "byte order mark": ("\ufeff", "something that can be seen"),
    "filler": ("\u3164", "something that can be seen"),
    "blank braille": ("\u2800", "something that can be seen"),
    "variation of nothing": ("\ufe0f", "something that can be seen"),
}


def read_from_a_manifest(folder: Path, class_id: str) -> Item | Problem:
    manifest = folder / "list.jsonl"
    manifest.write_text(json.dumps({"id": class_id, "image": "a.png"}))
    (entry,) = open_source(str(manifest))
    return entry


@pytest.mark.parametrize("name", ALLOWED)
def test_an_id_that_a_caller_may_send_is_taken_by_the_server(name: str, tmp_path: Path) -> None:
    class_id = ALLOWED[name]
    assert class_id_problem(class_id) is None
    assert check_class_id("class_id", class_id) == class_id
    assert isinstance(read_from_a_manifest(tmp_path, class_id), Item)


@pytest.mark.parametrize("name", REFUSED)
def test_an_id_that_would_mislead_or_break_a_line_is_refused_everywhere_and_shown(name: str, tmp_path: Path) -> None:
    class_id, words = REFUSED[name]
    message = str(class_id_problem(class_id))
    assert words in message
    assert message.isprintable()
    with pytest.raises(ServiceError) as caught:
        check_class_id("class_id", class_id)
    assert words in caught.value.message
    assert isinstance(read_from_a_manifest(tmp_path, class_id), Problem)
