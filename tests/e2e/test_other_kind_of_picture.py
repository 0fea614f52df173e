"""A real server says that queries are another kind of picture than the exemplars, through client and command line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from demo.server_process import ServerProcess
from exemplar import AsyncClient, Classification, Client, Embedding, Enrollment, HintKind
from exemplar_encoder.arrays import Floats
from tests.calibrations import made_up
from tests.client.command import run
from tests.e2e.stubs import Stubs, plant


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.address) as connected:
        yield connected


@pytest.fixture
def icons(client: Client, stubs: Stubs, gallery: str, drawings: dict[str, list[bytes]]) -> str:
    """Return a gallery of 40 drawings, by whose calibration next to nothing is near enough."""
    name = gallery.removeprefix("galleries/")
    client.update_gallery(name, max_exemplars_per_class=5)
    client.enroll_many(name, [Enrollment(key, found[0]) for key, found in list(drawings.items())[:40]])
    plant(stubs, gallery, made_up(0.01))
    return name


def vectors(client: Client, gallery: str) -> Floats:
    found = [each.embedding for each in client.classes(gallery, embeddings=True)]
    return np.array([each.values for each in found if each], np.float32)


def photographs(client: Client, gallery: str) -> list[Embedding]:
    """Return queries near the classes, and all moved to one side of them, away from their mean."""
    classes, model = vectors(client, gallery), client.get_gallery(gallery).model
    side = np.linalg.svd(classes)[2][-1]  # the direction that the classes have least in
    moved = classes + 2 * side
    return [Embedding(tuple(each), model) for each in (moved / np.linalg.norm(moved, axis=1, keepdims=True)).tolist()]


def strangers(client: Client, gallery: str) -> list[Embedding]:
    """Return queries of no class that lie around the same mean as the classes."""
    classes, model = vectors(client, gallery), client.get_gallery(gallery).model
    mean, rng = classes.mean(axis=0), np.random.default_rng(0)
    found = mean + rng.choice([-1, 1], (len(classes), 1)) * (classes - mean)
    return [Embedding(tuple(each), model) for each in (found / np.linalg.norm(found, axis=1, keepdims=True)).tolist()]


def answered(answers: Sequence[object]) -> list[Classification]:
    assert all(isinstance(answer, Classification) for answer in answers)
    return [answer for answer in answers if isinstance(answer, Classification)]


def test_the_answer_and_the_diagnosis_say_so_with_the_evidence_until_the_exemplars_are_mended(
    client: Client, icons: str, server: ServerProcess
) -> None:
    queries = photographs(client, icons)
    answers = [client.classify(icons, query) for query in queries[:30]]
    assert [bool(answer.hints) for answer in answers[:19]] == [False] * 19
    (hint,) = answers[-1].hints
    assert (hint.kind, hint.recent_queries, hint.unknown_queries) == (HintKind.OTHER_KIND_OF_PICTURE, 30, 30)
    assert 0.15 <= hint.shift <= 1
    assert "enroll 3 to 5 pictures of each class" in hint.message
    assert client.diagnose(icons).hints == (hint,)

    async def of_asyncio() -> tuple[object, object]:
        async with AsyncClient(server.address) as other:
            return (await other.classify(icons, queries[30])).hints, (await other.diagnose(icons)).hints

    told, diagnosed = asyncio.run(of_asyncio())
    assert told == diagnosed == client.diagnose(icons).hints != (hint,)
    for each in client.classes(icons):
        client.delete_class(icons, each.id)
    with pytest.raises(Exception, match="no classes"):
        client.classify(icons, queries[0])
    assert client.diagnose(icons).hints == ()


def test_strangers_of_the_same_kind_raise_no_hint(client: Client, icons: str) -> None:
    for _ in range(3):
        assert not any(answer.hints for answer in answered(client.classify_many(icons, strangers(client, icons))))
    assert client.diagnose(icons).hints == ()


def test_an_accepted_query_has_no_hint_to_explain_it(
    client: Client, icons: str, drawings: dict[str, list[bytes]]
) -> None:
    client.classify_many(icons, photographs(client, icons))
    exemplar = next(iter(drawings.values()))[0]
    known, unknown = client.classify(icons, exemplar), client.classify(icons, photographs(client, icons)[0])
    assert (known.class_id, known.hints) == (next(iter(drawings)), ())
    assert len(unknown.hints) == 1


def test_another_calibration_begins_anew(client: Client, icons: str, stubs: Stubs) -> None:
    client.classify_many(icons, photographs(client, icons))
    assert client.diagnose(icons).hints
    plant(stubs, f"galleries/{icons}", made_up(0.02))
    assert client.diagnose(icons).hints == ()


def test_the_command_line_says_it_once_and_in_json(
    client: Client, icons: str, drawings: dict[str, list[bytes]], tmp_path: Path
) -> None:
    client.classify_many(icons, photographs(client, icons))
    images = []
    for place, found in enumerate(list(drawings.values())[40:43]):
        images.append(tmp_path / f"{place}.png")
        images[-1].write_bytes(found[1])
    done = run("classify", icons, *images, "--address", client.address)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("OTHER_KIND_OF_PICTURE") == 1
    assert "enroll 3 to 5 pictures" in done.stdout
    document = json.loads(run("classify", icons, *images, "--json", "--address", client.address).stdout)
    for result in document["results"]:
        (hint,) = result["hints"]
        assert (hint["kind"], hint["recent_queries"]) == ("OTHER_KIND_OF_PICTURE", 46)
    assert "OTHER_KIND_OF_PICTURE" in run("diagnose", icons, "--address", client.address).stdout
