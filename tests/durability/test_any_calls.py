"""Any sequence of calls, kills and rebuilds leaves what a dict would hold, and is answered as by brute force."""

from __future__ import annotations

import itertools
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from demo.server_process import ServerProcess
from exemplar import (
    AbortedError,
    AlreadyExistsError,
    Client,
    Embedding,
    Enrolled,
    Enrollment,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from exemplar_encoder import class_embedding
from exemplar_encoder.arrays import Floats
from tests.durability.scale import SCALE
from tests.e2e.several_servers import free_port
from tests.e2e.stubs import png

EXAMPLES, STEPS = 8 if SCALE == 1 else 60 * SCALE, 50
PICTURES = [png(seed=seed) for seed in range(8)]
NO_PICTURE = b"not a picture"
MOST = 3  # exemplars of a class
NEAR = 1e-4

pytestmark = [pytest.mark.slow, pytest.mark.process]


class Service:
    """A server, a client that counts its calls, and what the server makes of each picture."""

    def __init__(self, server: ServerProcess, address: str, data: Path) -> None:
        self._server, self._data = server, data
        self._client = Client(address)
        self.calls = self.kills = 0
        server.wait_until_serving()
        found = self._client.embed_many(PICTURES)
        self.embeddings = [each for each in found if isinstance(each, Embedding)]
        self.vectors = np.array([each.values for each in self.embeddings], np.float32)
        self._client.create_gallery("names")
        stored = [self._client.enroll("names", "any", picture).image_class for picture in PICTURES]
        self.names = [each.exemplars[0].sha256 for each in stored]

    @property
    def client(self) -> Client:
        self.calls += 1
        return self._client

    def kill(self, forget_indexes: bool) -> None:
        self.kills += 1
        self._server.kill()
        if forget_indexes:
            shutil.rmtree(self._data / "indexes", ignore_errors=True)
        self._server.restart().wait_until_serving()

    def rebuild(self) -> None:
        self._server.send(signal.SIGHUP)


@dataclass
class _Class:
    name: str
    attributes: dict[str, str]
    pictures: list[int]


@dataclass
class _Gallery:
    """What a gallery holds, and how often it was changed as far as anybody was told."""

    classes: dict[str, _Class] = field(default_factory=dict)
    revision: int = 0
    changed: bool = True


class AnyCalls(RuleBasedStateMachine):
    """Each rule is a call and what a dict says of it; after each, a gallery is compared whole."""

    service: Service
    galleries = st.sampled_from(["one", "two"])
    ids = st.sampled_from(["a", "b", "c", "ä", "Z z"])
    any_class = st.tuples(galleries, ids)
    names = st.text("xyzß", max_size=2)
    picture = st.integers(0, len(PICTURES) - 1)
    several = st.lists(picture, min_size=1, max_size=MOST, unique=True)
    rarely = st.integers(0, 6).map(lambda number: number == 1)

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[str, _Gallery] = {}
        self.touched = "one"

    @property
    def client(self) -> Client:
        return self.service.client

    @initialize()
    def start(self) -> None:
        for gallery in ("one", "two"):
            self.client.delete_gallery(gallery, force=True, allow_missing=True)
        self.create("one")

    @rule(gallery=galleries)
    def create(self, gallery: str) -> None:
        self.touched = gallery
        if gallery in self.model:
            with pytest.raises(AlreadyExistsError):
                self.client.create_gallery(gallery)
        else:
            self.client.create_gallery(gallery, max_exemplars_per_class=MOST)
            self.model[gallery] = _Gallery()

    @rule(gallery=galleries, sure=rarely)
    def delete_gallery(self, gallery: str, sure: bool) -> None:
        if sure and self._there(gallery, lambda: self.client.delete_gallery(gallery, force=True)):
            del self.model[gallery]

    @rule(gallery=galleries, class_id=ids, pictures=several, name=names)
    def enroll(self, gallery: str, class_id: str, pictures: list[int], name: str) -> None:
        images, attributes = [PICTURES[each] for each in pictures], {"name": name}
        if held := self._there(
            gallery,
            lambda: self.client.enroll(gallery, class_id, images, display_name=name, attributes=attributes),
        ):
            held.classes[class_id] = _Class(name, attributes, pictures)
            held.changed = True

    @rule(gallery=galleries, wanted=st.lists(st.tuples(ids, several, st.booleans()), min_size=1, max_size=4))
    def enroll_many(self, gallery: str, wanted: list[tuple[str, list[int], bool]]) -> None:
        batch = [
            Enrollment(class_id, [*(PICTURES[each] for each in pictures), *[NO_PICTURE] * damaged])
            for class_id, pictures, damaged in wanted
        ]
        if (held := self.model.get(gallery)) is None:
            return
        self.touched = gallery
        for (class_id, pictures, damaged), stored in zip(
            wanted, self.client.enroll_many(gallery, batch), strict=True
        ):
            assert isinstance(stored, InvalidArgumentError if damaged or len(pictures) > MOST else Enrolled)
            if not damaged:
                held.classes[class_id] = _Class("", {}, pictures)
                held.changed = True

    @rule(data=st.data(), pictures=several)
    def add_exemplars(self, data: st.DataObject, pictures: list[int]) -> None:
        gallery, class_id = self._some(data)

        def add() -> object:
            return self.client.add_exemplars(gallery, class_id, [PICTURES[each] for each in pictures])

        if found := self._class(gallery, class_id, add, lambda found: len({*found.pictures, *pictures}) <= MOST):
            new = [each for each in pictures if each not in found.pictures]
            found.pictures += new
            self.model[gallery].changed = bool(new)

    @rule(data=st.data())
    def remove_exemplar(self, data: st.DataObject) -> None:
        gallery, class_id = self._some(data)
        found = self._held(gallery, class_id)
        theirs = st.sampled_from(found.pictures) if found else st.nothing()
        picture = data.draw(theirs | self.picture)

        def remove() -> object:
            return self.client.remove_exemplar(gallery, class_id, self.service.names[picture])

        if found is not None and picture not in found.pictures:
            with pytest.raises(NotFoundError):
                remove()
        elif self._class(gallery, class_id, remove, lambda found: len(found.pictures) > 1):
            assert found is not None
            found.pictures.remove(picture)

    @rule(data=st.data(), name=names, late=st.booleans())
    def rename(self, data: st.DataObject, name: str, late: bool) -> None:
        gallery, class_id = self._some(data)
        found = self._held(gallery, class_id)
        if found is not None and late:
            with pytest.raises(AbortedError):
                self.client.update_class(gallery, class_id, display_name=name, etag="of another day")
        elif self._class(gallery, class_id, lambda: self.client.update_class(gallery, class_id, display_name=name)):
            assert found is not None
            found.name = name

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        gallery, class_id = self._some(data)
        if self._class(gallery, class_id, lambda: self.client.delete_class(gallery, class_id)):
            del self.model[gallery].classes[class_id]

    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        gallery, class_id = self._some(data)
        self.touched = gallery
        if (found := self._held(gallery, class_id)) is None:
            with pytest.raises(NotFoundError):
                self.client.get_class(gallery, class_id)
        else:
            stored = self.client.get_class(gallery, class_id, embedding=True)
            assert stored.attributes == found.attributes
            assert stored.embedding is not None
            assert stored.embedding.values == pytest.approx(self._vector(found), abs=1e-5)
            image = self.client.exemplar_image(gallery, class_id, stored.exemplars[0].sha256)
            assert image == PICTURES[found.pictures[0]]

    @rule(sure=rarely, forget_indexes=st.booleans())
    def kill(self, sure: bool, forget_indexes: bool) -> None:
        if sure:
            self.service.kill(forget_indexes)

    @rule(sure=rarely)
    def rebuild(self, sure: bool) -> None:
        if sure:
            self.service.rebuild()

    @invariant()
    def agrees(self) -> None:
        if (held := self.model.get(self.touched)) is None:
            return
        stored = self.client.get_gallery(self.touched)
        assert stored.class_count == len(held.classes)
        assert stored.revision > held.revision if held.changed else stored.revision == held.revision
        held.revision, held.changed = stored.revision, False
        listed = {
            each.id: (each.display_name, [item.sha256 for item in each.exemplars])
            for each in self.client.classes(self.touched)
        }
        assert list(listed) == sorted(held.classes)
        for class_id, found in held.classes.items():
            assert listed[class_id] == (found.name, [self.service.names[each] for each in found.pictures])
        self._classify(held, held.revision % len(PICTURES))

    def _classify(self, held: _Gallery, picture: int) -> None:
        if not held.classes:
            with pytest.raises(FailedPreconditionError):
                self.client.classify(self.touched, self.service.embeddings[picture])
            return
        answer = self.client.classify(self.touched, self.service.embeddings[picture], top_k=100)
        query = self.service.vectors[picture]
        distances = {
            class_id: np.linalg.norm(self._vector(found) - query) for class_id, found in held.classes.items()
        }
        assert {each.class_id: each.distance for each in answer.matches} == pytest.approx(distances, abs=NEAR)
        assert [each.display_name for each in answer.matches] == [
            held.classes[each.class_id].name for each in answer.matches
        ]
        for nearer, farther in itertools.pairwise(answer.matches):
            assert (nearer.distance, nearer.class_id) < (farther.distance, farther.class_id)

    def _vector(self, found: _Class) -> Floats:
        return class_embedding(self.service.vectors[found.pictures])

    def _some(self, data: st.DataObject) -> tuple[str, str]:
        """Draw a class that is there, mostly."""
        there = [(gallery, class_id) for gallery, held in self.model.items() for class_id in held.classes]
        return data.draw(st.sampled_from(there) if there and not data.draw(self.rarely) else self.any_class)

    def _held(self, gallery: str, class_id: str) -> _Class | None:
        held = self.model.get(gallery)
        return None if held is None else held.classes.get(class_id)

    def _there(self, gallery: str, call: Callable[[], object]) -> _Gallery | None:
        """Make a call that needs a gallery; return the gallery if there is one."""
        self.touched = gallery
        if gallery not in self.model:
            with pytest.raises(NotFoundError):
                call()
            return None
        call()
        return self.model[gallery]

    def _class(
        self,
        gallery: str,
        class_id: str,
        call: Callable[[], object],
        allowed: Callable[[_Class], bool] = lambda found: True,
    ) -> _Class | None:
        """Make a call that changes a class; return the class if there is one and it may be changed so."""
        self.touched = gallery
        found = self._held(gallery, class_id)
        if found is None or not allowed(found):
            with pytest.raises(NotFoundError if found is None else FailedPreconditionError):
                call()
            return None
        call()
        self.model[gallery].changed = True
        return found


@pytest.fixture
def service(tiny_bundle: Path, tmp_path: Path) -> Iterator[Service]:
    address = f"127.0.0.1:{free_port()}"
    # Its galleries of a few classes have indexes that are built in the background and saved.
    program = [sys.executable, "-m", "tests.durability.dying_server"]
    env = {"DIES_AT": str(tmp_path / "never")}
    with ServerProcess(tiny_bundle, tmp_path / "data", "--address", address, program=program, env=env) as server:
        yield Service(server, address, tmp_path / "data")


def test_any_calls_kills_and_rebuilds_leave_what_a_dict_would_hold(service: Service) -> None:
    class Bound(AnyCalls):
        pass

    Bound.service = service
    case = Bound.TestCase
    case.settings = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    case().runTest()
    print(f"{service.calls:,} operations, {service.kills:,} kills")
    assert service.calls > EXAMPLES * STEPS
