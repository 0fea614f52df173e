"""Two servers on one PostgreSQL, written to from all sides while any of the three is killed; and what is left of it.

Writers repeat a change, at one server and the other, until it is acknowledged; so what there must be is known to the
last revision. After each acknowledgment both servers are asked at once, and after each round they are read whole.
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from demo.server_process import ServerProcess
from exemplar.channel import options
from exemplar.v1 import classification_service_pb2 as classification
from exemplar.v1 import gallery_service_pb2 as galleries
from exemplar.v1 import resources_pb2 as resources
from tests.e2e.stubs import Stubs, image, png
from tests.e2e.writer import EXEMPLARS, NEAR, Pictures, Tally, Writer, query
from tests.postgres_server import PostgresServer

GALLERIES = ("even", "odd")
WRITERS = 8
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


class Cluster:
    """The database, the two servers, a channel to each, and the writers; all outlive the kills between the rounds."""

    def __init__(self, bundle: Path, folder: Path, stack: ExitStack) -> None:
        self.database = stack.enter_context(PostgresServer(durable=True))
        self.addresses = [f"127.0.0.1:{_free_port()}" for _ in range(2)]
        self.servers = [
            stack.enter_context(
                ServerProcess(bundle, folder / str(number), "--store", self.database.url, "--address", address)
            )
            for number, address in enumerate(self.addresses)
        ]
        # As the client's own, but for fewer attempts at one server, so that the other gets some of the repetitions.
        channels = [grpc.insecure_channel(address, options(address, 2, None)) for address in self.addresses]
        for channel in channels:
            stack.callback(channel.close)
        self.stubs = [Stubs(channel) for channel in channels]
        for server in self.servers:
            server.wait_until_serving()
        for gallery in GALLERIES:
            settings = resources.Gallery(max_exemplars_per_class=EXEMPLARS)
            request = galleries.CreateGalleryRequest(gallery_id=gallery, gallery=settings)
            self.stubs[0].galleries.CreateGallery(request)
        self.writers = self._make_writers()

    def run_round(self, writes: int, seed: int) -> Report:
        """Write that often, kill each of the three on the way, and count.

        Args:
            writes: how many changes are to be acknowledged.
            seed: of the order and the moments of the kills, and of the changes.
        """
        rng = random.Random(seed)
        tally = Tally(writes)
        started = time.monotonic()
        with ThreadPoolExecutor(len(self.writers) + 1) as pool:
            killing = pool.submit(self._kill, tally, rng)
            futures = [pool.submit(writer.run, tally, random.Random(rng.random())) for writer in self.writers]
            for future in futures:
                future.result()
            kills = killing.result()
        report = Report(tally.acknowledged, tally.repeated, time.monotonic() - started, kills, unseen=tally.unseen)
        for number, stubs in enumerate(self.stubs):
            self._audit(stubs, f"server {number}", report)
        return report

    def _make_writers(self) -> list[Writer]:
        contents = [png(seed=seed) for seed in range(WRITERS * PICTURES_EACH)]
        embeddings: list[Any] = []
        for start in range(0, len(contents), 64):
            request = classification.BatchEmbedRequest(images=map(image, contents[start : start + 64]))
            results = self.stubs[0].classification.BatchEmbed(request).results
            embeddings += [list(each.embedding.values) for each in results]
        pictures = Pictures(contents, embeddings)
        return [
            Writer(
                number,
                GALLERIES[number % 2],
                self.stubs,
                pictures.some(number * PICTURES_EACH, PICTURES_EACH),
            )
            for number in range(WRITERS)
        ]

    def _kill(self, tally: Tally, rng: random.Random) -> list[str]:
        """Kill each of the three without warning at some moment, and start it again."""
        targets = ["database", "server 0", "server 1"]
        rng.shuffle(targets)
        moments = sorted(rng.sample(range(1, tally.writes * 9 // 10), len(targets)))
        for target, moment in zip(targets, moments, strict=True):
            if not tally.wait_for(moment):
                raise RuntimeError(f"the writers came to a halt before {moment} changes")
            if target == "database":
                self.database.kill()
                self.database.start()
            else:
                server = self.servers[int(target[-1])]
                server.kill()
                server.restart().wait_until_serving()
        return targets

    def _audit(self, stubs: Stubs, name: str, report: Report) -> None:
        """Compare all that a server tells with what was acknowledged."""
        for gallery in GALLERIES:
            writers = [writer for writer in self.writers if writer.gallery == gallery]
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


@contextmanager
def cluster(bundle: Path, folder: Path) -> Iterator[Cluster]:
    """Start the database and the servers; stop them at the end of the block."""
    with ExitStack() as stack:
        yield Cluster(bundle, folder, stack)


def _classes(stubs: Stubs, gallery: str) -> Iterator[resources.ImageClass]:
    request = galleries.ListClassesRequest(gallery=f"galleries/{gallery}", page_size=1000)
    return iter(stubs.galleries.ListClasses(request).classes)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
