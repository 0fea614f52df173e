"""The Python clients against the real server: every method, with real images."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import exemplar
from demo.server_process import ServerProcess
from exemplar import AsyncClient, Classification, Client, Embedding, Enrolled, Enrollment, Part, Region
from exemplar_encoder import Calibration
from tests.calibrations import made_up
from tests.client.lossy_relay import lossy_relay


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.address) as connected:
        yield connected


@pytest.fixture(scope="module")
def pictures(drawn_alphabets: Path) -> dict[str, list[Path]]:
    """Return the files of one alphabet by character."""
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
        forms: list[Any] = [files[0], str(files[0]), files[0].read_bytes(), image, np.asarray(image.convert("L"))]
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
    assert isinstance(empty, exemplar.InvalidArgumentError)
    assert isinstance(text, exemplar.InvalidArgumentError)
    assert (empty.code, empty.reason, text.reason) == ("INVALID_ARGUMENT", "IMAGE_EMPTY", "IMAGE_UNSUPPORTED_FORMAT")
    assert [type(entry) for entry in client.embed_many([good, b""])] == [Embedding, exemplar.InvalidArgumentError]
    kept, refused = client.enroll_many("taught", [Enrollment("good", good), Enrollment("bad", b"")])
    assert isinstance(kept, Enrolled)
    assert isinstance(refused, exemplar.InvalidArgumentError)
    client.delete_class("taught", "good")


def test_the_same_error_is_raised_for_one_image_and_given_for_one_of_many(client: Client, taught: str) -> None:
    (given,) = client.embed_many([b"no image at all"])
    with pytest.raises(exemplar.InvalidArgumentError) as raised:
        client.embed(b"no image at all")
    assert isinstance(given, exemplar.ExemplarError)
    assert (type(given), given.code, given.reason) == (type(raised.value), raised.value.code, raised.value.reason)


def test_a_part_of_a_picture_is_named_as_the_same_picture_by_itself(
    client: Client, taught: str, pictures: dict[str, list[Path]]
) -> None:
    left, right = (Image.open(files[0]).convert("L") for files in list(pictures.values())[:2])
    width, height = left.size
    shelf = Image.new("L", (2 * width, height), 255)
    shelf.paste(left, (0, 0))
    shelf.paste(right, (width, 0))
    regions = [
        Region(0, 0, width, height),
        Region(width, 0, width, height),
        Region(0, 0, 0.5, 1, "fraction"),
        Region(0.5, 0, 0.5, 1, "fraction"),
    ]
    names = [
        entry.matches[0].class_id if isinstance(entry, Classification) else None
        for entry in client.classify_many(taught, [Part(shelf, region) for region in regions])
    ]
    assert names == list(pictures)[:2] * 2
    with pytest.raises(exemplar.InvalidArgumentError, match="beyond the image"):
        client.classify(taught, Part(shelf, Region(0, 0, 2 * width + 1, height)))


def test_two_parts_of_one_picture_are_two_exemplars(client: Client, pictures: dict[str, list[Path]]) -> None:
    picture = next(iter(pictures.values()))[0]
    client.create_gallery("halves-of-one", max_exemplars_per_class=3)
    halves = [Part(picture, Region(0, 0, 0.5, 1, "fraction")), Part(picture, Region(0.5, 0, 0.5, 1, "fraction"))]
    enrolled = client.enroll("halves-of-one", "halves", [*halves, halves[0]]).image_class
    assert [each.region for each in enrolled.exemplars] == [half.region for half in halves]
    for each in enrolled.exemplars:
        assert client.exemplar_image("halves-of-one", "halves", each.sha256) == picture.read_bytes()


def test_a_class_is_enrolled_replaced_changed_read_and_deleted(
    client: Client, pictures: dict[str, list[Path]]
) -> None:
    files = next(iter(pictures.values()))
    client.create_gallery("life-of-a-class")
    first = client.enroll("life-of-a-class", "c 1", files[0], attributes={"year": "1840"})
    second = client.enroll("life-of-a-class", "c 1", files[1], display_name="C", attributes={"year": "1841"})
    assert (first.replaced, second.replaced) == (False, True)
    assert second.gallery_revision > first.gallery_revision
    (only,) = second.image_class.exemplars
    assert only.sha256 == hashlib.sha256(files[1].read_bytes()).hexdigest()
    assert client.exemplar_image("life-of-a-class", "c 1", only.sha256) == files[1].read_bytes()
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
    assert client.delete_class("life-of-a-class", "c 1", allow_missing=True) == revision


def test_a_class_takes_more_exemplars_and_gives_them_up(client: Client, pictures: dict[str, list[Path]]) -> None:
    first, second, third = next(iter(pictures.values()))[:3]
    client.create_gallery("several", max_exemplars_per_class=3)
    client.enroll("several", "c", first)
    added = client.add_exemplars("several", "c", [second, third.read_bytes()])
    assert added.gallery_revision == client.get_gallery("several").revision
    assert added.image_class == client.get_class("several", "c")
    assert client.exemplar_image("several", "c", added.image_class.exemplars[2].sha256) == third.read_bytes()
    with pytest.raises(exemplar.FailedPreconditionError) as full:
        client.add_exemplars("several", "c", noise(1))
    assert full.value.reason == "TOO_MANY_EXEMPLARS"

    async def other_way() -> tuple[exemplar.ExemplarRemoved, exemplar.ExemplarsAdded]:
        async with AsyncClient(client.address) as other:
            removed = await other.remove_exemplar("several", "c", added.image_class.exemplars[0].sha256)
            return removed, await other.add_exemplars("several", "c", first, strict=False)

    removed, restored = asyncio.run(other_way())
    assert removed.image_class.exemplars == added.image_class.exemplars[1:]
    assert restored.image_class.exemplars == (*added.image_class.exemplars[1:], added.image_class.exemplars[0])
    assert added.gallery_revision < removed.gallery_revision < restored.gallery_revision
    for item in restored.image_class.exemplars[:2]:
        last = client.remove_exemplar("several", "c", item.sha256)
    with pytest.raises(exemplar.FailedPreconditionError) as only:
        client.remove_exemplar("several", "c", last.image_class.exemplars[0].sha256)
    assert only.value.reason == "LAST_EXEMPLAR"
    with pytest.raises(exemplar.NotFoundError):
        client.remove_exemplar("several", "c", "0" * 64)
    assert client.remove_exemplar("several", "c", "0" * 64, allow_missing=True) == last


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
        client.delete_gallery("life")
    client.delete_gallery("life", allow_missing=True)


def test_an_update_with_a_stale_etag_is_aborted(client: Client, pictures: dict[str, list[Path]]) -> None:
    gallery = client.create_gallery("stale")
    client.enroll("stale", "c", next(iter(pictures.values()))[0])
    read = client.get_class("stale", "c")
    assert client.get_gallery("stale").etag == gallery.etag  # a class's change is none of the gallery's fields
    client.update_gallery("stale", display_name="first", etag=gallery.etag)
    client.update_class("stale", "c", display_name="first", etag=read.etag)
    with pytest.raises(exemplar.AbortedError) as aborted:
        client.update_gallery("stale", display_name="second", etag=gallery.etag)
    assert aborted.value.reason == "ETAG_MISMATCH"
    with pytest.raises(exemplar.AbortedError):
        client.update_class("stale", "c", display_name="second", etag=read.etag)
    assert client.get_gallery("stale").display_name == client.get_class("stale", "c").display_name == "first"


def test_a_change_whose_response_was_lost_is_made_once(
    client: Client, server: ServerProcess, pictures: dict[str, list[Path]]
) -> None:
    first, second, third = next(iter(pictures.values()))[:3]
    with lossy_relay(server.address) as relay, Client(relay.address) as lossy:
        made = lossy.create_gallery("lossy", max_exemplars_per_class=2)
        enrolled = lossy.enroll("lossy", "a", first)
        assert not enrolled.replaced
        (also,) = lossy.enroll_many("lossy", [Enrollment("b", second)])
        assert isinstance(also, Enrolled)
        assert not also.replaced
        added = lossy.add_exemplars("lossy", "a", third)
        removed = lossy.remove_exemplar("lossy", "a", enrolled.image_class.exemplars[0].sha256)
        lossy.update_class("lossy", "a", display_name="A", etag=removed.image_class.etag)
        lossy.update_gallery("lossy", display_name="Lossy", etag=made.etag)
        deleted = lossy.delete_class("lossy", "a")
        assert deleted == lossy.get_gallery("lossy").revision
        revisions = [enrolled.gallery_revision, also.gallery_revision, added.gallery_revision]
        assert [removed.gallery_revision, *revisions] == [made.revision + 4, *(made.revision + n for n in (1, 2, 3))]
        assert deleted == made.revision + 7
        lossy.delete_gallery("lossy", force=True)
    assert [method for method in relay.lost if method.startswith(("Create", "Delete", "Update", "Remove"))] == [
        "CreateGallery",
        "RemoveExemplar",
        "UpdateClass",
        "UpdateGallery",
        "DeleteClass",
        "DeleteGallery",
    ]
    assert {"EnrollClass", "BatchEnrollClasses", "AddExemplars"} <= set(relay.lost)


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


def test_a_class_comes_with_the_embedding_that_is_searched_where_it_is_asked_for(client: Client, taught: str) -> None:
    plain, told = list(client.classes(taught)), list(client.classes(taught, embeddings=True))
    assert {each.embedding for each in plain} == {None}
    assert [dataclasses.replace(each, embedding=None) for each in told] == plain
    for each in told:
        assert each == client.get_class(taught, each.id, embedding=True)
        assert each.embedding is not None
        nearest = client.classify(taught, each.embedding).matches[0]
        assert nearest.class_id == each.id
        assert nearest.distance == pytest.approx(0, abs=1e-3)


def test_both_clients_give_the_same_answers(client: Client, taught: str, pictures: dict[str, list[Path]]) -> None:
    images = [files[3] for files in pictures.values()]

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
    mine = made_up()
    sent = exemplar.Calibration("", "", 0.0, 0.0, mine.to_json().encode())
    own = client.update_gallery("calibrated", calibration=sent).calibration
    assert own is not None
    assert (own.method, own.fitted_on) == (mine.method, mine.fitted_on)
    assert own.default_false_accept_rate == mine.default_false_accept_rate
    assert own.ambiguity_error_rate == mine.ambiguity_error_rate
    assert Calibration.from_json(own.data.decode()) == mine
    assert client.update_gallery("calibrated", display_name="C").calibration == own
    (listed,) = (each for each in client.galleries() if each.id == "calibrated")
    assert listed.calibration == dataclasses.replace(own, data=b"")

    async def change() -> list[exemplar.Gallery]:
        async with AsyncClient(client.address) as other:
            read = await other.get_gallery("calibrated")
            cleared = await other.update_gallery("calibrated", calibration=None)
            return [read, cleared, await other.update_gallery("calibrated", calibration=model.calibration)]

    assert [each.calibration for each in asyncio.run(change())] == [own, None, model.calibration]
    with pytest.raises(exemplar.InvalidArgumentError) as refused:
        client.update_gallery("calibrated", calibration=dataclasses.replace(own, data=b"{}"))
    assert refused.value.metadata["field"] == "gallery.calibration.data"
