"""A gallery's classes and a folder of labeled pictures, as the server embeds them.

A folder named by the id of an enrolled class holds queries of it (`stamps/penny-black/1.jpg` is of
`stamps:penny-black`, as `exemplar index` names classes); pictures in any other folder are strangers. A picture that
is an exemplar of the gallery is no query, since it lies at distance 0 from its class; nor is one that came before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from exemplar import Client, Embedding, ExemplarError, ImageClass
from exemplar_encoder import Calibration
from exemplar_encoder.arrays import Floats
from exemplar_trainer.calibration.from_gallery import LEAST_CLASSES, LEAST_QUERIES, Labeled
from exemplar_trainer.data.image_set import SUFFIXES, some
from exemplar_trainer.evaluation.tasks import NOBODY

SEPARATOR = ":"

MAX_CLASSES = 2000

_BATCH = 64

Progress = Callable[[str, int, int], None]
Item = TypeVar("Item")


class LabeledError(Exception):
    """Pictures that a gallery cannot be calibrated on; the message is a sentence."""


@dataclass(frozen=True)
class Gathered:
    """What was found.

    Attributes:
        labeled: classes and queries.
        model: the calibration of the gallery's model.
        strangers: names of the folders that are no enrolled class.
        left_out: how many pictures are exemplars of the gallery, or came before.
        skipped: pictures that could not be embedded, with the reason.
    """

    labeled: Labeled
    model: Calibration
    strangers: tuple[str, ...]
    left_out: int
    skipped: tuple[str, ...]


def gather(client: Client, gallery: str, root: Path, seed: int, progress: Progress) -> Gathered:
    """Fetch the gallery's exemplars, and have them and the labeled pictures embedded.

    Of a very large gallery `MAX_CLASSES` are taken, those that have pictures first.

    Args:
        client: connected to the gallery's server.
        gallery: its id.
        root: the folder of labeled pictures.
        seed: which classes are taken of a very large gallery.
        progress: called with what is being done, how many are done and how many there are.

    Raises:
        LabeledError: too little to calibrate on, or a gallery of another model than the server's.
        ExemplarError: a request failed.
    """
    pictures = read_folders(root)
    model = _calibration(client, gallery)
    everything = list(client.classes(gallery))
    known = {each.id for each in everything} & pictures.keys()
    if not known:
        raise LabeledError(
            f"no folder in {root} is named like a class of gallery {gallery!r}: the folders are "
            f"{some(sorted(pictures))}, the classes {some([each.id for each in everything]) or 'none'}"
        )
    classes = _taken(everything, known, seed)
    vectors = _class_vectors(client, gallery, classes, progress)
    place = {each.id: index for index, each in enumerate(classes)}
    strangers = tuple(sorted(pictures.keys() - known))
    pictures = {name: found for name, found in pictures.items() if name in place or name not in known}
    seen = {exemplar.sha256 for each in everything for exemplar in each.exemplars}
    queries: list[Floats] = []
    labels: list[int] = []
    skipped: list[str] = []
    left_out = done = 0
    total = sum(len(found) for found in pictures.values())
    for batch in _batches((name, path) for name, found in sorted(pictures.items()) for path in found):
        done += len(batch)
        contents = [path.read_bytes() for _, path in batch]
        fresh = []
        for (name, path), content in zip(batch, contents, strict=True):
            digest = hashlib.sha256(content).hexdigest()
            if digest in seen:
                left_out += 1
            else:
                seen.add(digest)
                fresh.append((name, path, content))
        entries = client.embed_many([content for _, _, content in fresh]) if fresh else []
        for (name, path, _), entry in zip(fresh, entries, strict=True):
            if isinstance(entry, ExemplarError):
                skipped.append(f"{path}: {entry.message}")
            else:
                queries.append(_vector(entry))
                labels.append(place.get(name, NOBODY))
        progress("Embedding pictures", done, total)
    labeled = Labeled(vectors, np.array(queries, np.float32), np.array(labels, np.int64))
    _require_enough(root, labeled)
    return Gathered(labeled, model, strangers, left_out, tuple(skipped))


def read_folders(root: Path) -> dict[str, list[Path]]:
    """Pictures by the name of their folder, as a class id.

    Raises:
        LabeledError: there is no such folder, or no picture in a folder of it.
    """
    if not root.is_dir():
        raise LabeledError(f"{root} is no folder")
    found: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if path.suffix.lower() not in SUFFIXES or any(part.startswith(".") for part in parts) or not path.is_file():
            continue
        if len(parts) > 1:
            found.setdefault(SEPARATOR.join(parts[:-1]), []).append(path)
    if not found:
        raise LabeledError(f"{root} holds no folder of pictures; expected one named by each class's id")
    return found


def _calibration(client: Client, gallery: str) -> Calibration:
    """The calibration of the gallery's model, which has to be the server's."""
    made_with = client.get_gallery(gallery).model
    loaded = {model.id: model.calibration for model in client.models()}
    if made_with not in loaded:
        raise LabeledError(
            f"gallery {gallery!r} was made with model {made_with}, but the server runs {', '.join(sorted(loaded))}"
        )
    theirs = loaded[made_with]
    return Calibration(**{field.name: getattr(theirs, field.name) for field in fields(Calibration)})


def _taken(everything: Sequence[ImageClass], known: set[str], seed: int) -> list[ImageClass]:
    rng = np.random.default_rng([seed, 10])
    chosen = sorted(rng.permutation(len(everything)), key=lambda index: everything[index].id not in known)
    return [everything[index] for index in sorted(chosen[:MAX_CLASSES])]


def _class_vectors(client: Client, gallery: str, classes: Sequence[ImageClass], progress: Progress) -> Floats:
    """What each class is searched by, as the server computes it: its exemplars' mean, renormalized."""
    owners = [index for index, each in enumerate(classes) for _ in each.exemplars]
    wanted = ((each, exemplar.sha256) for each in classes for exemplar in each.exemplars)
    vectors: list[Floats] = []
    for batch in _batches(wanted):
        images = [client.exemplar_image(gallery, each.id, sha256) for each, sha256 in batch]
        for (each, _), entry in zip(batch, client.embed_many(images), strict=True):
            if isinstance(entry, ExemplarError):
                raise LabeledError(f"an exemplar of class {each.id!r} cannot be embedded: {entry.message}")
            vectors.append(_vector(entry))
        progress("Fetching exemplars", len(vectors), len(owners))
    sums = np.zeros((len(classes), len(vectors[0])))
    np.add.at(sums, owners, np.array(vectors, np.float64))
    return (sums / np.linalg.norm(sums, axis=1, keepdims=True)).astype(np.float32)


def _require_enough(root: Path, labeled: Labeled) -> None:
    queries = int((labeled.labels != NOBODY).sum())
    classes = len(labeled.asked)
    if queries < LEAST_QUERIES or classes < LEAST_CLASSES:
        raise LabeledError(
            f"{root} holds {queries:,} usable {'query' if queries == 1 else 'queries'} of {classes:,} enrolled "
            f"{'class' if classes == 1 else 'classes'}, too few to promise anything; it takes {LEAST_QUERIES} of "
            f"{LEAST_CLASSES} classes or more, and none of them an exemplar"
        )


def _vector(embedding: Embedding) -> Floats:
    return np.array(embedding.values, np.float32)


def _batches(items: Iterator[Item]) -> Iterator[list[Item]]:
    while batch := list(islice(items, _BATCH)):
        yield batch
