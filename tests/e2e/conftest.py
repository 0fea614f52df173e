"""One running server for the tests that only ask it, with a gallery in stock and an empty one a test."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.server_process import ServerProcess
from exemplar.v1 import gallery_service_pb2 as galleries
from tests.e2e.stubs import Stubs, image

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test here: it starts a process, or asks one that runs already."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.process)


@pytest.fixture(scope="session")
def server(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tiny_bundle, tmp_path_factory.mktemp("data")) as running:
        yield running


@pytest.fixture(scope="session")
def stubs(server: ServerProcess) -> Stubs:
    return Stubs(server.channel())


@pytest.fixture(scope="session")
def drawings(drawn_alphabets: Path) -> dict[str, list[bytes]]:
    """Return pictures by class."""
    found: dict[str, list[bytes]] = {}
    for path in sorted(drawn_alphabets.rglob("*.png")):
        found.setdefault(f"{path.parts[-3]}-{path.parts[-2]}", []).append(path.read_bytes())
    return found


@pytest.fixture
def gallery(stubs: Stubs, request: pytest.FixtureRequest) -> str:
    """Return a fresh gallery's name."""
    gallery_id = "g" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]
    return str(stubs.galleries.CreateGallery(galleries.CreateGalleryRequest(gallery_id=gallery_id)).gallery.name)


@pytest.fixture(scope="session")
def stocked(stubs: Stubs, drawings: dict[str, list[bytes]]) -> str:
    """Return a gallery with the first picture of every class."""
    created = stubs.galleries.CreateGallery(galleries.CreateGalleryRequest(gallery_id="stocked")).gallery
    enrollments = [galleries.Enrollment(class_id=key, images=[image(found[0])]) for key, found in drawings.items()]
    request = galleries.BatchEnrollClassesRequest(gallery=created.name, enrollments=enrollments)
    response = stubs.galleries.BatchEnrollClasses(request)
    assert all(result.HasField("enrolled") for result in response.results)
    return str(created.name)
