"""Shards loaded into a store: the same classes, once each, however often the import is begun."""

from __future__ import annotations

import hashlib
import io
import json
import signal
import subprocess
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from demo.server_process import EXEMPLAR, clean_environment
from exemplar_encoder import EncodedImage, load_encoder
from exemplar_indexer.embedding_job import EmbeddingJob, run_embedding_job
from exemplar_indexer.local_engine import embed_here
from exemplar_indexer.shard_folder import ShardFolder
from exemplar_indexer.shard_writer import writing_shard
from exemplar_indexer.shards import Header, Row, write_header
from exemplar_server.store import open_truth
from exemplar_server.store.records import ClassCopy
from exemplar_server.store.truth.truth import Truth
from tests.client.command import run as exemplar
from tests.indexer.held_up import held_up


def picture(seed: int) -> bytes:
    """Return a random block pattern, another for each seed."""
    blocks = np.random.default_rng(seed).integers(0, 2, (6, 6), dtype=np.uint8) * 255
    buffer = io.BytesIO()
    Image.fromarray(blocks).resize((36, 36), Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


def shards_of(
    folder: Path, bundle: Path, count: int = 20, shard_size: int = 8, image_urls: bool = False, first: int = 0
) -> Path:
    """Make shards of `count` pictures; the manifest gives each a name, an attribute, and every third a region."""
    (folder / "pictures").mkdir(parents=True)
    lines = []
    for number in range(count):
        (folder / "pictures" / f"{number}.png").write_bytes(picture(first + number))
        line = {"id": f"c{number:04}", "image": f"pictures/{number}.png", "display_name": f"№ {number}", "n": number}
        lines.append(json.dumps(line | ({} if number % 3 else {"region": "0,0,20,20"})) + "\n")
    (folder / "list.jsonl").write_text("".join(lines))
    job = EmbeddingJob(str(folder / "list.jsonl"), str(folder / "shards"), str(bundle), shard_size, image_urls)
    assert run_embedding_job(job, embed_here, lambda counts: None, lambda finished: None).done == count
    return folder / "shards"


def load(shards: Path, data: Path, *more: object, gallery: str = "g") -> tuple[int, dict[str, Any], str]:
    done = exemplar("import", shards, "-g", gallery, "--data-dir", data, "--json", *more)
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


@pytest.fixture(scope="module")
def shards(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shards_of(tmp_path_factory.mktemp("made"), tiny_bundle)


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def opened(data: Path) -> closing[Truth]:
    return closing(open_truth(f"sqlite:{data}"))


def copies(data: Path, gallery: str = "g") -> list[ClassCopy]:
    with opened(data) as truth:
        return truth.class_copies(gallery, limit=10_000)


def content(classes: Sequence[ClassCopy]) -> list[tuple[Any, ...]]:
    return [
        (
            *(each.id, each.display_name, dict(each.attributes), each.embedding.tobytes()),
            *((one.exemplar, one.image, one.embedding.tobytes()) for one in each.exemplars),
        )
        for each in classes
    ]


def test_every_class_is_in_the_gallery_as_enrolling_would_store_it(
    shards: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    code, summary, _ = load(shards, tmp_path / "data", "--create")
    assert (code, summary["complete"], summary["total"], summary["loaded"]) == (0, True, 20, 20)
    encoder = load_encoder(tiny_bundle)
    with opened(tmp_path / "data") as truth:
        gallery = truth.get_gallery("g")
    assert (gallery.model, gallery.dimension, gallery.class_count) == (encoder.bundle.id, encoder.dimension, 20)
    for number, stored in enumerate(copies(tmp_path / "data")):
        assert (stored.id, stored.display_name, stored.attributes) == (
            f"c{number:04}",
            f"№ {number}",
            {"n": str(number)},
        )
        (exemplar,) = stored.exemplars
        assert exemplar.image == picture(number)
        assert (exemplar.exemplar.region is None) == (number % 3 != 0)
        image = EncodedImage(picture(number), exemplar.exemplar.region)
        prepared = encoder.prepare(image)
        assert exemplar.exemplar.sha256 == image.sha256()
        assert (exemplar.exemplar.width, exemplar.exemplar.height, exemplar.exemplar.format) == (36, 36, "PNG")
        np.testing.assert_array_equal(exemplar.embedding, encoder.embed(prepared.pixels[None])[0])
        np.testing.assert_array_equal(stored.embedding, exemplar.embedding)


def test_an_import_that_is_run_again_changes_nothing(shards: Path, tmp_path: Path) -> None:
    load(shards, tmp_path / "data", "--create")
    before = copies(tmp_path / "data")
    code, summary, _ = load(shards, tmp_path / "data", "--create")
    assert (code, summary["loaded"], summary["there"]) == (0, 0, 20)
    assert [each.create_time for each in copies(tmp_path / "data")] == [each.create_time for each in before]


def shards_of_one_picture(folder: Path, count: int, last: str) -> Path:
    """Make shards of random vectors whose rows all name the same picture, but for the last, which has its own URL."""
    folder.mkdir()
    every = folder / "every.png"
    every.write_bytes(picture(0))
    shards = ShardFolder(str(folder / "shards"))
    shards.prepare()
    vectors = np.random.default_rng(0).standard_normal((count, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with writing_shard(shards, 0, "", 8) as shard:
        for number, vector in enumerate(vectors):
            content = picture(0)
            told = hashlib.sha256(content).hexdigest(), None, 36, 36, "PNG", len(content)
            url = last if number == count - 1 else str(every)
            shard.add(Row(f"c{number:05}", "", {}, *told, vector, "model", None, url))
    write_header(shards, Header("random", "model", 8, count, image_urls=True, shards=1, complete=True))
    return folder / "shards"


@pytest.mark.process
def test_an_import_that_is_killed_ends_with_the_same_gallery_when_it_is_run_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with held_up(picture(0)) as last:
        shards = shards_of_one_picture(tmp_path / "made", 8200, last.url)
        command = [EXEMPLAR, "import", str(shards), "-g", "g", "--data-dir", str(data), "--create"]
        with subprocess.Popen(command, env=clean_environment(), stderr=subprocess.DEVNULL) as process:
            last.wait_for_reader(process)
            process.kill()
        last.release()
        committed = len(copies(data))
        assert 0 < committed < 8200
        code, summary, _ = load(shards, data)
        load(shards, tmp_path / "whole", "--create")
    assert (code, summary["loaded"], summary["there"]) == (0, 8200 - committed, committed)
    assert content(copies(data)) == content(copies(tmp_path / "whole"))


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_import_that_waits_for_a_silent_server_ends_when_it_is_interrupted(tmp_path: Path, number: int) -> None:
    with held_up(picture(0)) as last:
        shards = shards_of_one_picture(tmp_path / "made", 3, last.url)
        command = [EXEMPLAR, "import", str(shards), "-g", "g", "--data-dir", str(tmp_path / "data"), "--create"]
        with subprocess.Popen(command, env=clean_environment(), stderr=subprocess.PIPE, text=True) as process:
            last.wait_for_reader(process)
            process.send_signal(number)
            _, said = process.communicate(timeout=2)
    assert (process.returncode, "run the same command again" in said, "Traceback" in said) == (130, True, False)


def test_a_damaged_shard_ends_the_import_and_nothing_of_it_is_loaded(tiny_bundle: Path, tmp_path: Path) -> None:
    shards = shards_of(tmp_path / "made", tiny_bundle)
    damaged = shards / "shard-000001.parquet"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole.replace(b"PNG", b"PNX", 1))
    code, _, error = load(shards, tmp_path / "data", "--create")
    assert (code, "shard-000001.parquet was altered" in error) == (1, True)
    assert [each.id for each in copies(tmp_path / "data")] == [f"c{number:04}" for number in range(8)]
    damaged.write_bytes(whole)
    assert load(shards, tmp_path / "data")[1]["there"] == 8
    assert len(copies(tmp_path / "data")) == 20


def test_a_gallery_of_another_model_is_refused(shards: Path, other_bundle: Path, tmp_path: Path) -> None:
    other = shards_of(tmp_path / "other", other_bundle, count=3)
    load(shards, tmp_path / "data", "--create")
    code, _, error = load(other, tmp_path / "data", "--create")
    assert code == 1
    assert "is of model" in error
    assert len(copies(tmp_path / "data")) == 20


def test_a_gallery_is_created_only_when_asked_for(shards: Path, tmp_path: Path) -> None:
    code, _, error = load(shards, tmp_path / "data")
    assert (code, "--create creates it" in error) == (1, True)


def test_a_class_that_is_there_with_another_exemplar_stays_and_fails_or_is_skipped(
    shards: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    other = shards_of(tmp_path / "other", tiny_bundle, count=3, first=100)
    load(other, tmp_path / "data", "--create")
    before = content(copies(tmp_path / "data"))
    code, summary, _ = load(shards, tmp_path / "data")
    assert (code, summary["loaded"], summary["failed"]) == (1, 17, 3)
    entries = [json.loads(line) for line in Path(summary["report"]).read_text().splitlines()]
    assert [(each["class_id"], each["reason"]) for each in entries] == [
        (f"c{number:04}", "CLASS_EXISTS") for number in range(3)
    ]
    code, summary, _ = load(shards, tmp_path / "data", "--skip-existing")
    assert (code, summary["there"], summary["skipped"]) == (0, 17, 3)
    assert content(copies(tmp_path / "data"))[:3] == before


def test_images_behind_urls_are_fetched_and_must_be_those_that_were_embedded(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    shards = shards_of(tmp_path / "made", tiny_bundle, count=6, image_urls=True)
    (tmp_path / "made" / "pictures" / "1.png").write_bytes(picture(99))
    (tmp_path / "made" / "pictures" / "2.png").unlink()
    code, summary, _ = load(shards, tmp_path / "data", "--create", "--report", "faults.jsonl")
    assert (code, summary["loaded"], summary["failed"]) == (1, 4, 2)
    entries = [json.loads(line) for line in Path("faults.jsonl").read_text().splitlines()]
    assert {(each["class_id"], each["reason"]) for each in entries} == {
        ("c0001", "IMAGE_CHANGED"),
        ("c0002", "IMAGE_UNREADABLE"),
    }
    (tmp_path / "made" / "pictures" / "1.png").write_bytes(picture(1))
    (tmp_path / "made" / "pictures" / "2.png").write_bytes(picture(2))
    code, summary, _ = load(shards, tmp_path / "data")
    assert (code, summary["loaded"], summary["there"]) == (0, 2, 4)
    assert [each.exemplars[0].image for each in copies(tmp_path / "data")] == [picture(n) for n in range(6)]


def test_shards_of_a_job_that_has_not_ended_are_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    shards = shards_of(tmp_path / "made", tiny_bundle, count=3)
    header = shards / "shards.json"
    header.write_text(header.read_text().replace('"complete": true', '"complete": false'))
    code, _, error = load(shards, tmp_path / "data", "--create")
    assert (code, "has not ended" in error) == (1, True)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--data-dir", "data", "--store", "sqlite:data"], 2, "give either --store or --data-dir"),
        ([], 2, "give either --store or --data-dir"),
        (["--store", "nosuch:store"], 2, "there is no store 'nosuch:store'"),
    ],
)
def test_a_wrong_store_is_refused_with_a_sentence(shards: Path, words: list[str], code: int, sentence: str) -> None:
    done = exemplar("import", shards, "-g", "g", "--create", *words)
    assert (done.returncode, sentence in done.stderr) == (code, True), done.stderr


def test_a_folder_without_shards_and_an_id_that_no_gallery_may_have_are_refused(tmp_path: Path) -> None:
    assert "holds no shards" in load(tmp_path / "absent", tmp_path / "data")[2]
    done = exemplar("import", tmp_path, "-g", "Not An Id", "--data-dir", tmp_path / "data")
    assert (done.returncode, "it must be 1 to 63 of a-z" in done.stderr) == (2, True)
