"""The Python clients against the real server: every method, with real images."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import exemplar
from demo.server_process import ServerProcess
from exemplar import AsyncClient, Classification, Client, Embedding, Enrolled, Enrollment, ItemError, Verdict


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.address) as connected:
        yield connected


@pytest.fixture(scope="module")
def pictures(drawn_alphabets: Path) -> dict[str, list[Path]]:
    """Files of one alphabet by character."""
    alphabet = sorted(drawn_alphabets.iterdir())[0]
    return {folder.name: sorted(folder.iterdir()) for folder in sorted(alphabet.iterdir())}


@pytest.fixture(scope="module")
def taught(client: Client, pictures: dict[str, list[Path]]) -> str:
    client.create_gallery("taught", display_name="Taught by the client")
    client.enroll_many("taught", [Enrollment(name, files[0], name.upper()) for name, files in pictures.items()])
    return "taught"


def test_an_exemplar_is_recognized_in_every_form_that_an_image_can_have(
    client: Client, taught: str, pictures: dict[str, list[Path]]
) -> None:
    for name, files in pictures.items():
        image = Image.open(files[0])
        forms = [files[0], str(files[0]), files[0].read_bytes(), image, np.asarray(image.convert("L"))]
        for answer in client.classify_many(taught, forms):
            assert isinstance(answer, Classification)
            assert (answer.matches[0].class_id, answer.matches[0].display_name) == (name, name.upper())
            assert answer.matches[0].distance < 1e-3


def test_an_answer_carries_what_decided_it(client: Client, taught: str, pictures: dict[str, list[Path]]) -> None:
    (model,) = client.models()
    query = next(iter(pictures.values()))[0]
    answer = client.classify(taught, query, top_k=3, false_accept_rate=0.1, model=model.id)
    assert len(answer.matches) == 3
    assert answer.false_accept_rate == pytest.approx(0.1)
    assert answer.model == client.get_gallery(taught).model == model.id
    assert answer.gallery_revision == client.get_gallery(taught).revision
    assert 0 <= answer.probability <= 1
    assert answer.class_id == (answer.matches[0].class_id if answer.verdict is Verdict.MATCH else None)


def test_an_embedding_is_a_query_as_good_as_its_image(
    client: Client, taught: str, pictures: dict[str, list[Path]]
) -> None:
    query = list(pictures.values())[1][2]
    embedding = client.embed(query)
    assert len(embedding.values) == client.get_model(embedding.model).dimension
    assert client.classify(taught, embedding) == client.classify(taught, query)


def test_a_bad_image_among_many_costs_only_its_own_answer(
    client: Client, taught: str, pictures: dict[str, list[Path]]
) -> None:
    good = next(iter(pictures.values()))[0]
    first, empty, text, last = client.classify_many(taught, [good, b"", b"no image at all", good])
    assert first == last
    assert isinstance(empty, ItemError)
    assert isinstance(text, ItemError)
    assert (empty.code, empty.reason) == ("INVALID_ARGUMENT", "IMAGE_EMPTY")
    assert text.reason == "IMAGE_UNSUPPORTED_FORMAT"
    assert [type(entry) for entry in client.embed_many([good, b""])] == [Embedding, ItemError]


def test_a_class_is_enrolled_replaced_changed_read_and_deleted(
    client: Client, pictures: dict[str, list[Path]]
) -> None:
    files = next(iter(pictures.values()))
    client.create_gallery("life-of-a-class")
    first = client.enroll("life-of-a-class", "c 1", files[0], attributes={"year": "1840"})
    second = client.enroll("life-of-a-class", "c 1", files[1], display_name="C", attributes={"year": "1841"})
    assert (first.replaced, second.replaced) == (False, True)
    assert second.gallery_revision > first.gallery_revision
    assert client.exemplar_image("life-of-a-class", "c 1") == files[1].read_bytes()
    changed = client.update_class("life-of-a-class", "c 1", display_name="D")
    assert (changed.display_name, changed.attributes) == ("D", {"year": "1841"})
    assert client.get_class("life-of-a-class", "c 1") == changed
    assert (changed.id, changed.gallery, len(changed.exemplars)) == ("c 1", "life-of-a-class", 1)
    assert client.update_class("life-of-a-class", "c 1", attributes={}).attributes == {}
    revision = client.delete_class("life-of-a-class", "c 1")
    assert revision == client.get_gallery("life-of-a-class").revision
    with pytest.raises(exemplar.NotFoundError) as caught:
        client.get_class("life-of-a-class", "c 1")
    assert caught.value.reason == "CLASS_NOT_FOUND"


def test_a_class_takes_more_exemplars_and_gives_them_up(client: Client, pictures: dict[str, list[Path]]) -> None:
    first, second, third = next(iter(pictures.values()))[:3]
    client.create_gallery("several", max_exemplars_per_class=3)
    client.enroll("several", "c", first)
    added = client.add_exemplars("several", "c", [second, third.read_bytes()])
    assert added.gallery_revision == client.get_gallery("several").revision
    assert added.class_ == client.get_class("several", "c")
    assert client.exemplar_image("several", "c", 2) == third.read_bytes()
    with pytest.raises(exemplar.FailedPreconditionError) as full:
        client.add_exemplars("several", "c", noise(1))
    assert full.value.reason == "TOO_MANY_EXEMPLARS"

    async def other_way() -> tuple[exemplar.ExemplarRemoved, exemplar.ExemplarsAdded]:
        async with AsyncClient(client.address) as other:
            removed = await other.remove_exemplar("several", "c", added.class_.exemplars[0].sha256)
            return removed, await other.add_exemplars("several", "c", first, strict=False)

    removed, restored = asyncio.run(other_way())
    assert removed.class_.exemplars == added.class_.exemplars[1:]
    assert restored.class_.exemplars == (*added.class_.exemplars[1:], added.class_.exemplars[0])
    assert added.gallery_revision < removed.gallery_revision < restored.gallery_revision
    for item in restored.class_.exemplars[:2]:
        last = client.remove_exemplar("several", "c", item.sha256)
    with pytest.raises(exemplar.FailedPreconditionError) as only:
        client.remove_exemplar("several", "c", last.class_.exemplars[0].sha256)
    assert only.value.reason == "LAST_EXEMPLAR"


def test_a_gallery_is_created_changed_listed_and_deleted(client: Client, pictures: dict[str, list[Path]]) -> None:
    made = client.create_gallery("life", display_name="Life", false_accept_rate=0.02, max_exemplars_per_class=2)
    assert (made.false_accept_rate, made.max_exemplars_per_class, made.class_count) == (0.02, 2, 0)
    with pytest.raises(exemplar.AlreadyExistsError):
        client.create_gallery("life")
    changed = client.update_gallery("life", false_accept_rate=None)
    assert (changed.false_accept_rate, changed.display_name, changed.max_exemplars_per_class) == (None, "Life", 2)
    assert "life" in [gallery.id for gallery in client.galleries()]
    client.enroll("life", "two", next(iter(pictures.values()))[:2])
    assert len(client.get_class("life", "two").exemplars) == 2
    with pytest.raises(exemplar.FailedPreconditionError):
        client.delete_gallery("life")
    client.delete_gallery("life", force=True)
    with pytest.raises(exemplar.NotFoundError):
        client.get_gallery("life")


def test_a_list_longer_than_a_page_comes_whole(client: Client) -> None:
    client.create_gallery("pages")
    wanted = [f"{number:04}" for number in range(1203)]
    images = [noise(seed) for seed in range(40)]
    entries = client.enroll_many("pages", [Enrollment(name, images[int(name) % 40]) for name in wanted])
    assert all(isinstance(entry, Enrolled) for entry in entries)
    assert [each.id for each in client.classes("pages")] == wanted


def noise(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_checking_and_diagnosing_find_a_duplicate(client: Client, pictures: dict[str, list[Path]]) -> None:
    image = next(iter(pictures.values()))[0]
    client.create_gallery("twins")
    client.enroll("twins", "a", image)
    found = client.check(image, gallery="twins")
    assert "DUPLICATE" in [warning.kind for warning in found.warnings]
    assert [near.class_id for near in found.nearest] == ["a"]
    with pytest.raises(exemplar.FailedPreconditionError) as caught:
        client.enroll("twins", "b", image, strict=True)
    assert caught.value.reason == "EXEMPLAR_REFUSED"
    client.enroll("twins", "b", image)
    (pair,) = client.diagnose("twins").pairs
    assert (pair.first_class_id, pair.second_class_id, pair.too_close) == ("a", "b", True)


def test_both_clients_give_the_same_answers(client: Client, taught: str, pictures: dict[str, list[Path]]) -> None:
    images: list[Path | bytes] = [files[3] for files in pictures.values()] + [b""]

    async def ask() -> tuple[object, ...]:
        async with AsyncClient(client.address) as other:
            listed = [each async for each in other.classes(taught)]
            many = await other.classify_many(taught, images)
            one, check = await asyncio.gather(
                other.classify(taught, images[0]), other.check(images[0], gallery=taught)
            )
            return listed, many, one, check, await other.diagnose(taught), await other.get_gallery(taught)

    assert asyncio.run(ask()) == (
        list(client.classes(taught)),
        client.classify_many(taught, images),
        client.classify(taught, images[0]),
        client.check(images[0], gallery=taught),
        client.diagnose(taught),
        client.get_gallery(taught),
    )


def test_a_calibration_is_read_set_and_cleared_by_both_clients(client: Client) -> None:
    (model,) = client.models()
    client.create_gallery("calibrated")
    assert client.get_gallery("calibrated").calibration is None
    own = dataclasses.replace(model.calibration, class_count=7, ambiguity_margin=0.25)
    assert client.update_gallery("calibrated", calibration=own).calibration == own
    assert client.update_gallery("calibrated", display_name="C").calibration == own
    (listed,) = (each for each in client.galleries() if each.id == "calibrated")
    assert listed.calibration == dataclasses.replace(
        own, gallery_sizes=(), typical_spacings=(), false_accept_rates=(), factors=()
    )

    async def change() -> list[exemplar.Gallery]:
        async with AsyncClient(client.address) as other:
            read = await other.get_gallery("calibrated")
            cleared = await other.update_gallery("calibrated", calibration=None)
            return [read, cleared, await other.update_gallery("calibrated", calibration=own)]

    assert [each.calibration for each in asyncio.run(change())] == [own, None, own]
    with pytest.raises(exemplar.InvalidArgumentError) as refused:
        client.update_gallery("calibrated", calibration=dataclasses.replace(own, nearest_share=math.nan))
    assert refused.value.metadata["field"] == "gallery.calibration.nearest_share"
