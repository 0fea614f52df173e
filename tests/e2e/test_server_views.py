"""How much of a class is read, and how many at a time, over a real socket."""

from __future__ import annotations

import grpc
import pytest

from demo.server_process import ServerProcess
from exemplar.v1 import gallery_service_pb2 as galleries
from exemplar.v1 import resources_pb2 as resources
from tests.e2e.stubs import Stubs, image, png, refusal


def enrollment(class_id: str, seed: int) -> galleries.Enrollment:
    return galleries.Enrollment(class_id=class_id, images=[image(png(seed=seed))])


def test_the_view_decides_whether_a_class_comes_with_its_embedding(stubs: Stubs, gallery: str) -> None:
    for class_id, seed in (("a", 1), ("b", 2)):
        stubs.galleries.EnrollClass(
            galleries.EnrollClassRequest(gallery=gallery, enrollment=enrollment(class_id, seed))
        )
    basic = stubs.galleries.ListClasses(galleries.ListClassesRequest(gallery=gallery)).classes
    view = resources.CLASS_VIEW_EMBEDDING
    whole = stubs.galleries.ListClasses(galleries.ListClassesRequest(gallery=gallery, view=view)).classes
    model = stubs.galleries.GetGallery(galleries.GetGalleryRequest(name=gallery)).gallery.model
    for without, with_embedding in zip(basic, whole, strict=True):
        assert not without.HasField("embedding")
        assert with_embedding.embedding.model == model
        name = without.name
        assert stubs.galleries.GetClass(galleries.GetClassRequest(name=name)).image_class == without
        assert stubs.galleries.GetClass(galleries.GetClassRequest(name=name, view=view)).image_class == with_embedding
        embedding = list(with_embedding.embedding.values)
        with_embedding.ClearField("embedding")
        assert with_embedding == without
        assert sum(value * value for value in embedding) == pytest.approx(1, abs=1e-5)
    with pytest.raises(grpc.RpcError) as refused:
        stubs.galleries.GetClass(galleries.GetClassRequest(name=basic[0].name, view=7))  # type: ignore[arg-type]
    assert refusal(refused.value) == ("INVALID_ARGUMENT", "FIELD_INVALID", {"field": "view"})


def test_a_page_of_classes_fits_a_client_that_set_no_limit(server: ServerProcess, stubs: Stubs, gallery: str) -> None:
    attributes = {f"key {number}": "v" * 1024 for number in range(64)}
    for start in range(0, 96, 24):
        enrollments = [
            galleries.Enrollment(class_id=str(seed), images=[image(png(seed=seed))], attributes=attributes)
            for seed in range(start, start + 24)
        ]
        stubs.galleries.BatchEnrollClasses(
            galleries.BatchEnrollClassesRequest(gallery=gallery, enrollments=enrollments)
        )
    listed: list[str] = []
    pages = 0
    with grpc.insecure_channel(server.address, [("grpc.enable_http_proxy", 0)]) as channel:
        request = galleries.ListClassesRequest(gallery=gallery, view=resources.CLASS_VIEW_EMBEDDING)
        while not pages or request.page_token:
            page = Stubs(channel).galleries.ListClasses(request)
            listed += [each.name for each in page.classes]
            request.page_token = page.next_page_token
            pages += 1
    assert listed == [f"{gallery}/classes/{class_id}" for class_id in sorted(map(str, range(96)))]
    assert 2 <= pages <= 4
