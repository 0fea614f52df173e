"""Any sequence of changes leaves what a dict would hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from exemplar_encoder.arrays import Floats
from exemplar_server.errors import (
    FailedPreconditionError,
    NotFoundError,
)
from exemplar_server.store import (
    GalleryStore,
)
from tests.contract.stores import (
    DIMENSION,
    MODEL,
    assert_answers_like_brute_force,
    new_class,
    renormalized_mean,
    seeded,
    sha256,
    vector,
)
from tests.durability.scale import SCALE


@dataclass
class _Model:
    """The content of a store after the same changes, in the plainest form."""

    seeds: dict[str, list[int]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def vectors(self) -> dict[str, Floats]:
        return {class_id: renormalized_mean(seeds) for class_id, seeds in self.seeds.items()}


class AnySequenceOfChanges(RuleBasedStateMachine):
    """Enroll, replace, rename, add, remove, delete and reopen in any order: the store agrees with a dict."""

    ids = st.sampled_from(["a", "b", "c", "ä", "Z z"])
    one = st.integers(0, 5)
    several = st.lists(one, min_size=1, max_size=4, unique=True)
    open_store: Callable[[Path], GalleryStore]
    directories: Callable[[], Path]

    @initialize()
    def start(self) -> None:
        self.path = type(self).directories()
        self.store = type(self).open_store(self.path)
        self.store.create_gallery("g", MODEL, DIMENSION, max_exemplars_per_class=3)
        self.model = _Model()

    @rule(changes=st.lists(st.tuples(ids, several, st.text(max_size=3)), min_size=1, max_size=4))
    def enroll(self, changes: list[tuple[str, list[int], str]]) -> None:
        self.store.put_classes("g", [new_class(i, *seeds, display_name=name) for i, seeds, name in changes])
        for class_id, seeds, name in changes:
            self.model.seeds[class_id], self.model.names[class_id] = list(seeds), name

    @precondition(lambda self: self.model.seeds)
    @rule(data=st.data(), seeds=several)
    def add(self, data: st.DataObject, seeds: list[int]) -> None:
        class_id = data.draw(st.sampled_from(sorted(self.model.seeds)))
        held = self.model.seeds[class_id]
        grown = [*held, *(seed for seed in seeds if seed not in held)]
        added = [seeded(class_id, seed) for seed in seeds]
        if len(grown) > max(3, len(held)):
            with pytest.raises(FailedPreconditionError):
                self.store.add_exemplars("g", class_id, added)
        else:
            self.store.add_exemplars("g", class_id, added)
            self.model.seeds[class_id] = grown

    @precondition(lambda self: self.model.seeds)
    @rule(data=st.data(), seed=one)
    def remove(self, data: st.DataObject, seed: int) -> None:
        class_id = data.draw(st.sampled_from(sorted(self.model.seeds)))
        held = self.model.seeds[class_id]
        if seed in held and len(held) > 1:
            self.store.remove_exemplar("g", class_id, sha256(class_id, seed))
            held.remove(seed)
        else:
            with pytest.raises(FailedPreconditionError if seed in held else NotFoundError):
                self.store.remove_exemplar("g", class_id, sha256(class_id, seed))

    @rule(class_id=ids)
    def delete(self, class_id: str) -> None:
        if class_id in self.model.seeds:
            self.store.delete_class("g", class_id)
            del self.model.seeds[class_id], self.model.names[class_id]
        else:
            with pytest.raises(NotFoundError):
                self.store.delete_class("g", class_id)

    @precondition(lambda self: self.model.seeds)
    @rule(data=st.data(), name=st.text(max_size=3))
    def rename(self, data: st.DataObject, name: str) -> None:
        class_id = data.draw(st.sampled_from(sorted(self.model.seeds)))
        self.store.update_class("g", class_id, display_name=name)
        self.model.names[class_id] = name

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = type(self).open_store(self.path)

    @invariant()
    def agrees(self) -> None:
        listed = {record.id: record.display_name for record in self.store.list_classes("g")}
        assert listed == self.model.names
        assert list(listed) == sorted(listed)
        assert_answers_like_brute_force(self.store, "g", self.model.vectors(), vector(7), 3)
        for class_id, seeds in self.model.seeds.items():
            held = [item.sha256 for item in self.store.get_class("g", class_id).exemplars]
            assert held == [sha256(class_id, seed) for seed in seeds]

    def teardown(self) -> None:
        self.store.close()


def test_any_sequence_of_changes_leaves_what_a_dict_would_hold(
    open_store: Callable[[Path], GalleryStore], tmp_path_factory: pytest.TempPathFactory
) -> None:
    class Bound(AnySequenceOfChanges):
        pass

    Bound.open_store = staticmethod(open_store)
    Bound.directories = staticmethod(lambda: tmp_path_factory.mktemp("any"))
    case = Bound.TestCase
    case.settings = settings(
        max_examples=15 * SCALE, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
    )
    case().runTest()
