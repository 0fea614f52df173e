"""What servers of one store must hold after writers changed it, and whether they do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from exemplar.v1 import classification_service_pb2 as classification
from exemplar.v1 import gallery_service_pb2 as galleries
from exemplar.v1 import resources_pb2 as resources
from tests.e2e.stubs import Stubs, image, png
from tests.e2e.writer import EXEMPLARS, NEAR, Pictures, Writer, query

GALLERIES = ("even", "odd")
PICTURES_EACH = 24


@dataclass
class Report:
    """What one round came to."""

    acknowledged: int
    repeated: int
    seconds: float
    kills: list[str]
    lost: list[str] = field(default_factory=list)
    phantoms: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing was lost, nothing came about that nobody asked for, and all was seen at once."""
        return not (self.lost or self.phantoms or self.unseen)


def make_writers(servers: Sequence[Stubs], count: int) -> list[Writer]:
    """Make the galleries, and writers that change them at two servers, or at one that is given twice."""
    for gallery in GALLERIES:
        settings = resources.Gallery(max_exemplars_per_class=EXEMPLARS)
        servers[0].galleries.CreateGallery(galleries.CreateGalleryRequest(gallery_id=gallery, gallery=settings))
    contents = [png(seed=seed) for seed in range(count * PICTURES_EACH)]
    embeddings: list[Any] = []
    for start in range(0, len(contents), 64):
        request = classification.BatchEmbedRequest(images=map(image, contents[start : start + 64]))
        results = servers[0].classification.BatchEmbed(request).results
        embeddings += [list(each.embedding.values) for each in results]
    pictures = Pictures(contents, embeddings)
    return [
        Writer(number, GALLERIES[number % 2], servers, pictures.some(number * PICTURES_EACH, PICTURES_EACH))
        for number in range(count)
    ]


def audit(stubs: Stubs, name: str, everyone: Sequence[Writer], report: Report) -> None:
    """Compare all that a server tells with what was acknowledged."""
    for gallery in GALLERIES:
        writers = [writer for writer in everyone if writer.gallery == gallery]
        wanted = {class_id: (writer, class_id) for writer in writers for class_id in writer.held}
        found = {each.name.rpartition("/")[2]: each for each in _classes(stubs, gallery)}
        report.lost += [f"{name}: {class_id}" for class_id in wanted.keys() - found.keys()]
        report.phantoms += [f"{name}: {class_id}" for class_id in found.keys() - wanted.keys()]
        for class_id in wanted.keys() & found.keys():
            if not wanted[class_id][0].is_as_held(found[class_id], class_id):
                report.lost.append(f"{name}: a change of {class_id}")
        present = stubs.galleries.GetGallery(galleries.GetGalleryRequest(name=f"galleries/{gallery}")).gallery
        expected = 1 + sum(writer.acknowledged for writer in writers)
        if (present.revision, present.class_count) != (expected, len(wanted)):
            more = report.phantoms if present.revision > expected else report.lost
            more.append(
                f"{name}: gallery {gallery} has revision {present.revision} and {present.class_count} classes, "
                f"not {expected} and {len(wanted)}"
            )
        if not wanted:
            continue
        queries = [query(writer.embedding_of(class_id)) for class_id, (writer, _) in wanted.items()]
        request = classification.BatchClassifyRequest(gallery=f"galleries/{gallery}", queries=queries)
        request.options.top_k = 100
        answers = stubs.classification.BatchClassify(request).results
        for class_id, answer in zip(wanted, answers, strict=True):
            near = {match.class_id: match.distance for match in answer.classification.matches}
            if near.keys() != wanted.keys() or near[class_id] > NEAR:
                report.unseen.append(f"{name}: a search for {class_id} is not of what is stored")


def _classes(stubs: Stubs, gallery: str) -> Iterator[resources.ImageClass]:
    request = galleries.ListClassesRequest(gallery=f"galleries/{gallery}", page_size=1000)
    return iter(stubs.galleries.ListClasses(request).classes)
