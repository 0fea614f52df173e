"""A job that writes shards, in one process: what is in them, what it does again, and what it refuses."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from exemplar_encoder import EncodedImage, Region, load_encoder
from exemplar_indexer.embedding import Finished, Work
from exemplar_indexer.embedding_job import EmbeddingJob, ShardSummary, run_embedding_job
from exemplar_indexer.local_engine import embed_here
from exemplar_indexer.shard_folder import ShardError, ShardFolder
from exemplar_indexer.shard_plan import Slice
from exemplar_indexer.shards import Header, Row, read_header, read_shard, rows_of


def picture(seed: int) -> bytes:
    """Return a random block pattern, another for each seed."""
    blocks = np.random.default_rng(seed).integers(0, 2, (6, 6), dtype=np.uint8) * 255
    buffer = io.BytesIO()
    Image.fromarray(blocks).resize((36, 36), Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


def pictures(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        (folder / f"c{number:03}.png").write_bytes(picture(number))
    return folder


def run(job: EmbeddingJob, engine: Any = embed_here) -> ShardSummary:
    return run_embedding_job(job, engine, lambda counts: None, lambda finished: None)


def header_of(shards: str) -> Header:
    header = read_header(ShardFolder(shards))
    assert header is not None
    return header


def rows(shards: str) -> list[Row]:
    header, folder = header_of(shards), ShardFolder(shards)
    return [
        row
        for number in range(header.shards)
        for table in read_shard(folder, number, header)
        for row in rows_of(table)
    ]


def times(shards: str) -> dict[str, int]:
    """Return when each shard was written."""
    return {path.name: path.stat().st_mtime_ns for path in Path(shards).glob("shard-*.parquet")}


def errors(summary: ShardSummary) -> list[dict[str, str]]:
    return [json.loads(line) for line in Path(summary.report).read_text().splitlines()]


@pytest.fixture
def job(tmp_path: Path, tiny_bundle: Path) -> EmbeddingJob:
    """Return a job of 20 pictures in shards of 8."""
    source = pictures(tmp_path / "pictures", 20)
    return EmbeddingJob(str(source), str(tmp_path / "shards"), str(tiny_bundle), shard_size=8)


def test_a_shard_holds_each_image_with_what_the_encoder_makes_of_it(job: EmbeddingJob, tiny_bundle: Path) -> None:
    summary = run(job)
    assert (summary.complete, summary.total, summary.done, summary.shard_count) == (True, 20, 20, 3)
    encoder = load_encoder(tiny_bundle)
    found = rows(job.shards)
    assert [row.id for row in found] == [f"c{number:03}" for number in range(20)]
    for number, row in enumerate(found):
        content = picture(number)
        assert row.image == content
        assert row.sha256 == hashlib.sha256(content).hexdigest()
        assert (row.width, row.height, row.format, row.size_bytes) == (36, 36, "PNG", len(content))
        assert (row.model, row.region, row.image_url) == (encoder.bundle.id, None, None)
        prepared = encoder.prepare(EncodedImage(content))
        np.testing.assert_array_equal(row.vector, encoder.embed(prepared.pixels[None])[0])


def test_names_attributes_and_regions_are_in_the_shard(job: EmbeddingJob, tmp_path: Path) -> None:
    manifest = tmp_path / "list.jsonl"
    about = {"display_name": "Penny Black", "attributes": {"year": 1840, "country": "GB"}}
    lines = [{"id": "a", "image": "pictures/c000.png", "region": "0,0,18,36", **about}]
    lines += [{"id": "b", "image": "pictures/c000.png", "region": "50%,0%,50%,100%"}]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run(replace(job, source=str(manifest)))
    first, second = rows(job.shards)
    assert (first.display_name, first.attributes) == ("Penny Black", {"year": "1840", "country": "GB"})
    assert first.region == str(Region(0, 0, 18, 36))
    assert second.region == str(Region(0.5, 0, 0.5, 1, "fraction"))
    for row in (first, second):
        assert row.region is not None
        assert row.sha256 == EncodedImage(picture(0), Region.parse(row.region)).sha256()
    assert not np.array_equal(first.vector, second.vector)


def test_a_finished_shard_is_the_checkpoint(job: EmbeddingJob) -> None:
    def interrupted(work: Work, parts: Sequence[Slice]) -> Iterator[Finished]:
        yield from embed_here(work, parts[:2])
        raise KeyboardInterrupt

    summary = run(job, interrupted)
    assert (summary.complete, summary.done, summary.pending) == (False, 16, 4)
    assert not header_of(job.shards).complete
    before = times(job.shards)
    summary = run(job)
    assert (summary.complete, summary.done, summary.shards_before) == (True, 20, 2)
    assert header_of(job.shards).complete
    assert {name: time for name, time in times(job.shards).items() if name in before} == before
    assert run(job).shards_before == 3


def test_the_same_source_makes_the_same_bytes(job: EmbeddingJob, tmp_path: Path) -> None:
    run(job)
    other = str(tmp_path / "other")
    run(replace(job, shards=other))
    names = sorted(times(job.shards))
    assert len(names) == 3
    for name in names:
        assert (Path(job.shards) / name).read_bytes() == (Path(other) / name).read_bytes()


def test_only_shards_whose_part_of_the_source_changed_are_made_anew(job: EmbeddingJob) -> None:
    run(job)
    before = times(job.shards)
    changed = Path(job.source) / "c010.png"
    changed.write_bytes(picture(99))
    assert run(job).shards_before == 2
    after = times(job.shards)
    assert [name for name in before if after[name] != before[name]] == ["shard-000001.parquet"]
    assert {row.id: row.image for row in rows(job.shards)}["c010"] == picture(99)


def test_no_shard_is_left_of_a_longer_source(job: EmbeddingJob) -> None:
    run(job)
    for number in range(8, 20):
        (Path(job.source) / f"c{number:03}.png").unlink()
    summary = run(job)
    assert (summary.shard_count, summary.shards_before) == (1, 1)
    assert list(times(job.shards)) == ["shard-000000.parquet"]
    assert len(rows(job.shards)) == 8


def test_what_fails_costs_only_itself_and_is_reported_in_every_run(job: EmbeddingJob, tmp_path: Path) -> None:
    manifest = tmp_path / "list.csv"
    (tmp_path / "pictures" / "bad.png").write_bytes(b"no image")
    entries = ["a,pictures/c000.png,", "a,pictures/c001.png,", "b,gone.png,", "c,pictures/bad.png,", ",x.png,"]
    entries += ['d,pictures/c002.png,"0,0,99,9"', "e,pictures/c003.png,", "f,pictures/c004.png,"]
    manifest.write_text("id,image,region\n" + "\n".join(entries) + "\n")
    job = replace(job, source=str(manifest), shard_size=3)
    for _ in range(2):
        summary = run(job)
        assert (summary.total, summary.done, summary.failed, summary.problems) == (8, 3, 2, 3)
        assert summary.complete
        assert {(each["class_id"], each["reason"]) for each in errors(summary)} == {
            ("a", "ID_DUPLICATE"),
            ("b", "IMAGE_UNREADABLE"),
            ("c", "IMAGE_UNSUPPORTED_FORMAT"),
            ("", "ROW_INVALID"),
            ("d", "IMAGE_BAD_REGION"),
        }
    assert summary.shards_before == 3
    assert [row.id for row in rows(job.shards)] == ["a", "e", "f"]


def test_a_class_that_no_server_would_take_is_not_in_a_shard(job: EmbeddingJob, tmp_path: Path) -> None:
    manifest = tmp_path / "list.csv"
    manifest.write_text(
        f"id,image,display_name,note\na,pictures/c000.png,{'n' * 1025},\nb,pictures/c000.png,,{'v' * 1025}\n"
    )
    summary = run(replace(job, source=str(manifest)))
    assert (summary.done, summary.problems) == (0, 2)
    assert [each["message"] for each in errors(summary)] == [
        "display_name: it has 1,025 characters; 1,024 is the most",
        "attributes: the value of 'note' has 1,025 characters; 1,024 is the most",
    ]


def test_an_image_that_could_not_be_read_gets_another_try_when_asked_for(job: EmbeddingJob, tmp_path: Path) -> None:
    manifest = tmp_path / "list.csv"
    late = tmp_path / "late.png"
    manifest.write_text(f"id,image\na,pictures/c000.png\nb,file://{late}\n")
    job = replace(job, source=str(manifest), shard_size=1)
    assert run(job).failed == 1
    late.write_bytes(picture(5))
    assert run(job).failed == 1
    summary = run(replace(job, retry=True))
    assert (summary.done, summary.failed, summary.shards_before) == (2, 0, 1)


def test_shards_may_hold_urls_in_place_of_images(job: EmbeddingJob) -> None:
    run(replace(job, image_urls=True))
    for number, row in enumerate(rows(job.shards)):
        assert row.image is None
        assert row.image_url == f"file://{job.source}/c{number:03}.png"
        assert row.sha256 == hashlib.sha256(picture(number)).hexdigest()


def test_shards_may_be_written_to_a_url(job: EmbeddingJob) -> None:
    url = f"memory://{job.shards}"
    first = run(job)
    second = run(replace(job, shards=url, report=Path(job.source).parent / "report.csv"))
    assert (second.done, second.model) == (first.done, first.model)
    assert [(row.id, row.image) for row in rows(url)] == [(row.id, row.image) for row in rows(job.shards)]
    assert run(replace(job, shards=url)).shards_before == 3


@pytest.mark.parametrize("changes", [{"shard_size": 9}, {"image_urls": True}, {"bundle": "other"}, {"source": "."}])
def test_a_folder_of_another_jobs_shards_is_refused(
    job: EmbeddingJob, other_bundle: Path, changes: dict[str, Any]
) -> None:
    run(job)
    before = times(job.shards)
    if "bundle" in changes:
        changes = {"bundle": str(other_bundle)}
    with pytest.raises(ShardError, match="holds shards of another job"):
        run(replace(job, **changes))
    assert times(job.shards) == before


def test_redo_makes_every_shard_anew(job: EmbeddingJob) -> None:
    run(job)
    before = times(job.shards)
    assert run(replace(job, redo=True)).shards_before == 0
    assert not set(before.items()) & set(times(job.shards).items())


@pytest.mark.parametrize("damage", ["altered", "cut", "gone", "no receipt"])
def test_a_shard_that_is_not_what_was_written_is_not_read(job: EmbeddingJob, damage: str) -> None:
    run(job)
    shard = Path(job.shards) / "shard-000001.parquet"
    content = bytearray(shard.read_bytes())
    if damage == "altered":
        content[len(content) // 2] ^= 1
        shard.write_bytes(content)
    elif damage == "cut":
        shard.write_bytes(content[:-1])
    elif damage == "gone":
        shard.unlink()
    else:
        shard.with_suffix(".json").unlink()
    assert sum(1 for _ in read_shard(ShardFolder(job.shards), 0, header_of(job.shards))) == 1
    with pytest.raises(ShardError, match=r"altered|there is no|is not there"):
        next(read_shard(ShardFolder(job.shards), 1, header_of(job.shards)))
    if damage in ("gone", "no receipt"):
        assert run(job).shards_before == 2
        assert len(rows(job.shards)) == 20


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    folder = ShardFolder(str(tmp_path / "shards"))
    folder.prepare()
    folder.write("name", b"before")

    def fail_on_the_way() -> None:
        with folder.writing("name") as path:
            path.write_bytes(b"half")
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        fail_on_the_way()
    assert folder.read("name") == b"before"
    assert folder.names() == {"name"}


def test_many_rows_come_in_groups_and_any_parquet_reader_reads_them(job: EmbeddingJob, tmp_path: Path) -> None:
    manifest = tmp_path / "list.csv"
    manifest.write_text("id,image\n" + "".join(f"c{number:04},pictures/c000.png\n" for number in range(1100)))
    run(replace(job, source=str(manifest), shard_size=2000))
    table = pq.read_table(Path(job.shards) / "shard-000000.parquet")
    assert table.num_rows == 1100
    assert table.schema.field("vector").type == pa.list_(pa.float32(), header_of(job.shards).dimension)
    assert len(list(read_shard(ShardFolder(job.shards), 0, header_of(job.shards)))) == 2
    assert [row.id for row in rows(job.shards)] == table.column("id").to_pylist()
