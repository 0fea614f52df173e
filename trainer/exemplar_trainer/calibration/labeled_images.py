"""A gallery's classes as the server holds them, and a folder of labeled pictures as the server embeds them.

A folder named by the id of an enrolled class holds queries of it (`stamps/penny-black/1.jpg` is of
`stamps:penny-black`, as `exemplar index` names classes); pictures in any other folder are strangers. A picture that
is an exemplar of the gallery is no query, since it lies at distance 0 from its class; nor is one that came before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from exemplar import Client, Embedding, ExemplarError
from exemplar.names import folder_class_id
from exemplar_encoder import Calibration, EncodedImage
from exemplar_encoder.arrays import Floats
from exemplar_trainer.calibration.from_gallery import LEAST_CLASSES, LEAST_QUERIES, LabeledGallery
from exemplar_trainer.data.files import is_image
from exemplar_trainer.data.wording import abridged, plural
from exemplar_trainer.evaluation.tasks import NO_CLASS

MAX_CLASSES = 2000

_BATCH = 64

OnActivity = Callable[[str, int, int], None]
"""Told what is being done, how many are done, and of how many."""


class LabeledImagesError(Exception):
    """Pictures that a gallery cannot be calibrated on; the message is a sentence."""


@dataclass(frozen=True)
class LabeledImages:
    """A gallery and labeled pictures, ready to fit on.

    Attributes:
        gallery: classes and queries.
        model: the calibration of the gallery's model.
        strangers: names of the folders that are no enrolled class.
        left_out: how many pictures are exemplars of the gallery, or came before.
        skipped: pictures that could not be embedded, with the reason.
    """

    gallery: LabeledGallery
    model: Calibration
    strangers: tuple[str, ...]
    left_out: int
    skipped: tuple[str, ...]


@dataclass(frozen=True)
class _GalleryClass:
    """A class as the server has it: its id, the SHA-256 of its exemplars, and the vector it is searched by."""

    id: str
    exemplars: tuple[str, ...]
    vector: Floats


def embed_labeled_images(
    client: Client, gallery: str, root: Path, seed: int, on_activity: OnActivity = lambda activity, done, total: None
) -> LabeledImages:
    """Read the classes of a gallery, and have labeled pictures embedded.

    Of a very large gallery `MAX_CLASSES` are taken, those that have pictures first.

    Args:
        client: connected to the gallery's server.
        gallery: its id.
        root: the folder of labeled pictures.
        seed: which classes are taken of a very large gallery.
        on_activity: told of classes read, then of pictures embedded.

    Raises:
        LabeledImagesError: too little to calibrate on, or a gallery of another model than the server's.
        ExemplarError: a request failed.
    """
    pictures = read_folders(root)
    model = _model_calibration(client, gallery)
    stored = list(_stored_classes(client, gallery, on_activity))
    known = {each.id for each in stored} & pictures.keys()
    if not known:
        raise LabeledImagesError(
            f"no folder in {root} is named like a class of gallery {gallery!r}: the folders are "
            f"{abridged(sorted(pictures))}, the classes {abridged([each.id for each in stored]) or 'none'}"
        )
    classes = _taken(stored, known, seed)
    place = {each.id: index for index, each in enumerate(classes)}
    wanted = {name: paths for name, paths in pictures.items() if name in place or name not in known}
    exemplars = {sha256 for each in stored for sha256 in each.exemplars}
    names, queries, left_out, skipped = _embed(client, wanted, exemplars, on_activity)
    labels = np.array([place.get(name, NO_CLASS) for name in names], np.int64)
    labeled = LabeledGallery(np.stack([each.vector for each in classes]), queries, labels)
    _require_enough(root, labeled)
    return LabeledImages(labeled, model, tuple(sorted(pictures.keys() - known)), left_out, tuple(skipped))


def read_folders(root: Path) -> dict[str, list[Path]]:
    """Return pictures by the name of their folder, as a class id.

    Raises:
        LabeledImagesError: there is no such folder, or no picture in a folder of it.
    """
    if not root.is_dir():
        raise LabeledImagesError(f"{root} is no folder")
    found: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*")):
        below = path.relative_to(root)
        if len(below.parts) > 1 and is_image(below.as_posix()) and path.is_file():
            found.setdefault(folder_class_id(below.parts[:-1]), []).append(path)
    if not found:
        raise LabeledImagesError(f"{root} holds no folder of pictures; expected one named by each class's id")
    return found


def _model_calibration(client: Client, gallery: str) -> Calibration:
    """Return the calibration of the gallery's model, which has to be the server's."""
    made_with = client.get_gallery(gallery).model
    loaded = {model.id: model.calibration for model in client.models()}
    if made_with not in loaded:
        raise LabeledImagesError(
            f"gallery {gallery!r} was made with model {made_with}, but the server runs {', '.join(sorted(loaded))}"
        )
    return Calibration.from_json(loaded[made_with].data)


def _stored_classes(client: Client, gallery: str, on_activity: OnActivity) -> Iterator[_GalleryClass]:
    total = client.get_gallery(gallery).class_count
    for done, each in enumerate(client.classes(gallery, embeddings=True), 1):
        if each.embedding is None:
            raise LabeledImagesError(f"the server returned no embedding of class {each.id!r}; is it up to date?")
        yield _GalleryClass(each.id, tuple(exemplar.sha256 for exemplar in each.exemplars), _vector(each.embedding))
        on_activity("Reading classes", done, max(done, total))


def _taken(stored: Sequence[_GalleryClass], known: Collection[str], seed: int) -> list[_GalleryClass]:
    rng = np.random.default_rng([seed, 10])
    chosen = sorted(rng.permutation(len(stored)), key=lambda index: stored[index].id not in known)
    return [stored[index] for index in sorted(chosen[:MAX_CLASSES])]


def _embed(
    client: Client, pictures: Mapping[str, Sequence[Path]], exemplars: Collection[str], on_activity: OnActivity
) -> tuple[list[str], Floats, int, list[str]]:
    """Have each picture embedded once: names of folders, float32 `[queries, dimension]`, left out, and skipped."""
    seen = set(exemplars)
    names: list[str] = []
    queries: list[Floats] = []
    skipped: list[str] = []
    left_out = done = 0
    total = sum(map(len, pictures.values()))
    paths = ((name, path) for name, paths in sorted(pictures.items()) for path in paths)
    while batch := list(islice(paths, _BATCH)):
        fresh: list[tuple[str, Path, bytes]] = []
        for name, path in batch:
            content = path.read_bytes()
            sha256 = EncodedImage(content).sha256()
            if sha256 in seen:
                left_out += 1
            else:
                seen.add(sha256)
                fresh.append((name, path, content))
        entries = client.embed_many([content for _, _, content in fresh]) if fresh else []
        for (name, path, _), entry in zip(fresh, entries, strict=True):
            if isinstance(entry, ExemplarError):
                skipped.append(f"{path}: {entry.message}")
            else:
                names.append(name)
                queries.append(_vector(entry))
        done += len(batch)
        on_activity("Embedding pictures", done, total)
    return names, np.array(queries, np.float32), left_out, skipped


def _require_enough(root: Path, labeled: LabeledGallery) -> None:
    queries = int((labeled.labels != NO_CLASS).sum())
    classes = len(labeled.asked)
    if queries < LEAST_QUERIES or classes < LEAST_CLASSES:
        raise LabeledImagesError(
            f"{root} holds {plural(queries, 'usable query', 'usable queries')} of "
            f"{plural(classes, 'enrolled class', 'enrolled classes')}, too few to promise anything; it takes "
            f"{LEAST_QUERIES} of {LEAST_CLASSES} classes or more, and none of them an exemplar"
        )


def _vector(embedding: Embedding) -> Floats:
    return np.array(embedding.values, np.float32)
