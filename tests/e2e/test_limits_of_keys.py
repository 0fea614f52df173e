"""A key may be limited: requests, images and bytes a second, and classes; others notice nothing of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from demo.server_process import ServerProcess
from exemplar import Client, Enrollment, ExemplarError
from tests.e2e.stubs import png, refusal, status_of
from tests.e2e.test_access import keys

pytestmark = pytest.mark.process

PICTURE = png()


class Limited:
    """A server, and a key for each limit."""

    def __init__(self, server: ServerProcess, shown: dict[str, str]) -> None:
        self.server = server
        self.shown = shown

    def client(self, who: str) -> Client:
        return Client(self.server.address, token=self.shown[who])


@pytest.fixture(scope="module")
def limited(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Limited]:
    folder = tmp_path_factory.mktemp("limited")
    file = folder / "keys.json"
    everything = ("-s", "read", "-s", "write", "-s", "admin")
    limits = {
        "owner": (),
        "requests": ("--limit", "requests=2"),
        "images": ("--limit", "images=3"),
        "bytes": ("--limit", f"bytes={3 * len(PICTURE)}"),
        "classes": ("--limit", "classes=3", "-g", "mine-*"),
    }
    shown = {name: keys(file, "create", name, *everything, *words) for name, words in limits.items()}
    with ServerProcess(tiny_bundle, folder / "data", "--keys", str(file)) as server:
        yield Limited(server, shown)


def refusal_of(client: Client) -> ExemplarError | None:
    try:
        client.embed(PICTURE)
    except ExemplarError as error:
        return error
    return None


@pytest.mark.parametrize(("limit", "passes"), [("requests", 2), ("images", 3), ("bytes", 2)])
def test_who_asks_too_fast_is_told_when_to_come_back_and_others_go_on(
    limited: Limited, limit: str, passes: int
) -> None:
    with limited.client(limit) as client, limited.client("owner") as owner:
        passed, refused = 0, None
        while refused is None and passed < 100:
            refused = refusal_of(client)
            passed += 1
        assert refused is not None
        assert (refused.code, refused.reason) == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
        assert passed > passes
        assert refused.metadata["limit"] == limit
        for _ in range(10):
            owner.embed(PICTURE)


def test_the_refusal_says_how_long_to_wait(limited: Limited) -> None:
    call: Any = limited.server.channel().unary_unary("/exemplar.v1.ModelService/ListModels")
    for _ in range(100):
        try:
            call(b"", metadata=[("authorization", f"Bearer {limited.shown['requests']}")], timeout=30)
        except grpc.RpcError as error:
            code, reason, _ = refusal(error)
            assert (code, reason) == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
            status = status_of(error)
            wait = error_details_pb2.RetryInfo()
            assert any(each.Unpack(wait) for each in status.details)
            assert 0 < wait.retry_delay.ToMilliseconds() <= 1000
            return
    pytest.fail("nothing was refused")


def test_a_batch_larger_than_a_second_s_worth_passes_and_is_paid_for_later(limited: Limited) -> None:
    from time import sleep

    with limited.client("images") as client:
        sleep(1.5)  # until earlier debts are paid
        assert len(client.embed_many([PICTURE] * 12)) == 12
        with pytest.raises(ExemplarError, match="'images' may ask for 3 images a second"):
            client.embed(PICTURE)


def test_a_key_stores_no_more_classes_than_it_may_in_all_its_galleries(limited: Limited) -> None:
    with limited.client("classes") as client, limited.client("owner") as owner:
        owner.create_gallery("others")
        owner.enroll("others", "uncounted", PICTURE)
        client.create_gallery("mine-1")
        client.create_gallery("mine-2")
        client.enroll("mine-1", "a", PICTURE)
        client.enroll("mine-2", "b", PICTURE)
        with pytest.raises(ExemplarError, match="may have 3 classes in its galleries, has 2, and gave 2 more"):
            client.enroll_many("mine-2", [Enrollment("c", PICTURE), Enrollment("d", PICTURE)])
        client.enroll("mine-1", "c", PICTURE)
        with pytest.raises(ExemplarError) as refused:
            client.enroll("mine-1", "d", PICTURE)
        assert (refused.value.code, refused.value.reason) == ("RESOURCE_EXHAUSTED", "CLASSES_LIMITED")
        client.enroll("mine-1", "a", png(seed=1))  # it is there already
        client.delete_class("mine-1", "c")
        client.enroll("mine-2", "d", PICTURE)
        assert sum(gallery.class_count for gallery in client.galleries()) == 3


def test_limits_are_listed_with_the_keys(limited: Limited, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    keys(file, "create", "one", "-s", "read", "--limit", "requests=5", "--limit", "classes=7")
    assert "requests=5, classes=7" in " ".join(keys(file, "list").split())
