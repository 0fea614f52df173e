"""A client that changes classes of its own at two servers, and looks at both after each change."""

from __future__ import annotations

import hashlib
import itertools
import random
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from google.protobuf.field_mask_pb2 import FieldMask

from exemplar.v1 import classification_service_pb2 as classification
from exemplar.v1 import gallery_service_pb2 as galleries
from exemplar.v1 import resources_pb2 as resources
from exemplar_encoder import class_embedding
from exemplar_encoder.arrays import Floats
from tests.e2e.stubs import Stubs, image

# Distances between an embedding and itself are not all zero to the last bit.
NEAR = 1e-3
CLASSES = 6
EXEMPLARS = 4
PATIENCE = 60.0
_PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


@dataclass
class Pictures:
    """Pictures and their embeddings, `[n, dimension]`."""

    contents: Sequence[bytes]
    embeddings: Any

    def some(self, start: int, count: int) -> Pictures:
        """Return `count` of them."""
        return Pictures(self.contents[start : start + count], self.embeddings[start : start + count])


@dataclass
class Held:
    """A class as it was last acknowledged: its name for people, and which pictures are its exemplars, in order."""

    display_name: str
    pictures: list[int]


@dataclass
class Tally:
    """What all writers of a round have done."""

    writes: int
    acknowledged: int = 0
    repeated: int = 0
    unseen: list[str] = field(default_factory=list)
    _begun: int = 0
    _news: threading.Condition = field(default_factory=threading.Condition)

    def begin(self) -> bool:
        """Return whether another change is to be made."""
        with self._news:
            self._begun += 1
            return self._begun <= self.writes

    def end(self, attempts: int) -> None:
        """Count a change that was acknowledged at that attempt."""
        with self._news:
            self.acknowledged += 1
            self.repeated += attempts > 1
            self._news.notify_all()

    def wait_for(self, acknowledged: int) -> bool:
        """Wait until that many changes are acknowledged; False where that takes too long."""
        with self._news:
            return self._news.wait_for(lambda: self.acknowledged >= acknowledged, PATIENCE)


class Writer:
    """See the module; `held` is what there must be, `acknowledged` how many changes it made in all."""

    def __init__(self, number: int, gallery: str, servers: Sequence[Stubs], pictures: Pictures) -> None:
        self.gallery = gallery
        self.held: dict[str, Held] = {}
        self.acknowledged = 0
        self._number = number
        self._servers = servers
        self._pictures = pictures
        self._parent = f"galleries/{gallery}"

    def run(self, tally: Tally, rng: random.Random) -> None:
        """Make changes until the round has enough."""
        while tally.begin():
            class_id = f"w{self._number}-{rng.randrange(CLASSES)}"
            method, request, after = self._change(class_id, rng)
            request.request_id = str(uuid.uuid4())
            before = self.held.get(class_id)
            first = rng.randrange(2)
            attempts = self._send(first, method, request)
            self.acknowledged += 1
            if after is None:
                del self.held[class_id]
            else:
                self.held[class_id] = after
            # Of the two servers, the one that has not acknowledged it is asked first.
            for number in (first + attempts, first + attempts + 1):
                self._look(number % 2, class_id, before or after, method, tally)
            tally.end(attempts)

    def embedding_of(self, class_id: str) -> Floats:
        """Return what a class must be searched by."""
        return self._embedding(self.held[class_id])

    def is_as_held(self, found: resources.ImageClass, class_id: str) -> bool:
        """Return whether a class that a server has is what was acknowledged."""
        held = self.held[class_id]
        names = [self._sha256(each) for each in held.pictures]
        return found.display_name == held.display_name and [each.sha256 for each in found.exemplars] == names

    def _change(self, class_id: str, rng: random.Random) -> tuple[str, Any, Held | None]:
        """Return a call, its request, and what it makes of a class; None for nothing."""
        held = self.held.get(class_id)
        name, title = f"{self._parent}/classes/{class_id}", f"name {rng.random()}"
        kinds = ["enroll"] if held is None else ["enroll", "delete", "rename", "add", "remove"]
        if held and len(held.pictures) == 1:
            kinds.remove("remove")
        if held and len(held.pictures) == EXEMPLARS:
            kinds.remove("add")
        kind = rng.choice(kinds)
        request: Any
        if held is None or kind == "enroll":
            pictures = self._unused(rng, rng.randint(1, 3))
            images = [image(self._pictures.contents[each]) for each in pictures]
            enrollment = galleries.Enrollment(class_id=class_id, display_name=title, images=images)
            request = galleries.EnrollClassRequest(gallery=self._parent, enrollment=enrollment)
            return "EnrollClass", request, Held(title, pictures)
        if kind == "delete":
            return "DeleteClass", galleries.DeleteClassRequest(name=name), None
        if kind == "rename":
            changed = resources.ImageClass(name=name, display_name=title)
            request = galleries.UpdateClassRequest(image_class=changed, update_mask=FieldMask(paths=["display_name"]))
            return "UpdateClass", request, Held(title, held.pictures)
        if kind == "add":
            (added,) = self._unused(rng, 1)
            request = galleries.AddExemplarsRequest(class_name=name, images=[image(self._pictures.contents[added])])
            return "AddExemplars", request, Held(held.display_name, [*held.pictures, added])
        removed = rng.choice(held.pictures)
        request = galleries.RemoveExemplarRequest(class_name=name, sha256=self._sha256(removed))
        kept = [each for each in held.pictures if each != removed]
        return "RemoveExemplar", request, Held(held.display_name, kept)

    def _unused(self, rng: random.Random, count: int) -> list[int]:
        """Choose pictures that none of the classes has, so that no two are alike."""
        used = {picture for held in self.held.values() for picture in held.pictures}
        return rng.sample([each for each in range(len(self._pictures.contents)) if each not in used], count)

    def _send(self, first: int, method: str, request: Any) -> int:
        """Make a call at one server and the other in turn until it is answered; return at which attempt it was."""
        deadline = time.monotonic() + PATIENCE
        for attempt in itertools.count():
            try:
                getattr(self._servers[(first + attempt) % 2].galleries, method)(request, timeout=10)
            except grpc.RpcError as error:
                if error.code() not in _PASSING or time.monotonic() > deadline:
                    raise
            else:
                return attempt + 1
        raise AssertionError

    def _look(self, number: int, class_id: str, at: Held | None, method: str, tally: Tally) -> None:
        """Ask a server for a class that was just changed, in a search and by its name."""
        held = self.held.get(class_id)
        stubs = self._servers[number]
        assert at is not None
        search = classification.ClassifyRequest(gallery=self._parent, query=query(self._embedding(held or at)))
        search.options.top_k = 100
        found = _answer(lambda: stubs.classification.Classify(search, timeout=10))
        matches = found.classification.matches if found else []
        match = next((each for each in matches if each.class_id == class_id), None)
        request = galleries.GetClassRequest(name=f"{self._parent}/classes/{class_id}")
        read = _answer(lambda: stubs.galleries.GetClass(request, timeout=10))
        if held is None:
            seen = match is None and read is None
        else:
            seen = match is not None and match.distance < NEAR and match.display_name == held.display_name
            seen = seen and read is not None and self.is_as_held(read.image_class, class_id)
        if not seen:
            tally.unseen.append(f"server {number}: {method} of {class_id}")

    def _sha256(self, picture: int) -> str:
        return hashlib.sha256(self._pictures.contents[picture]).hexdigest()

    def _embedding(self, held: Held) -> Floats:
        return class_embedding(np.array([self._pictures.embeddings[each] for each in held.pictures], np.float32))


def query(embedding: Floats) -> resources.Query:
    """Return an embedding as a query."""
    return resources.Query(embedding=resources.Embedding(values=embedding.tolist()))


def _answer(call: Callable[[], Any]) -> Any:
    """Make a call until a server that may be down answers; None where there is nothing to be found."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return call()
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION):
                return None
            if error.code() not in _PASSING or time.monotonic() > deadline:
                raise
