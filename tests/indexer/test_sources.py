"""Folders and manifests become items; what cannot is named with its place."""

from __future__ import annotations

import datetime
import http.server
import json
import os
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from exemplar_indexer import Item, Problem, SourceError, open_source
from exemplar_indexer.folder import LeftOut
from exemplar_indexer.images import ImageUnreadableError, read_image
from exemplar_indexer.journal import Journal
from tests.client.command import run as exemplar


def write(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def items(source: object) -> dict[str, Item]:
    entries = list(open_source(str(source)))
    assert all(isinstance(entry, Item) for entry in entries), entries
    return {entry.class_id: entry for entry in entries if isinstance(entry, Item)}


def problem(source: object) -> Problem:
    (entry,) = (entry for entry in open_source(str(source)) if isinstance(entry, Problem))
    return entry


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_file_in_the_folder_is_a_class_of_its_name(tmp_path: Path) -> None:
    image = write(tmp_path / "penny-black.png")
    write(tmp_path / "notes.txt")
    write(tmp_path / ".hidden.png")
    assert items(tmp_path) == {"penny-black": Item("penny-black", str(image), str(image))}


def test_a_folder_below_is_a_class_shown_by_its_first_image(tmp_path: Path) -> None:
    for name in ("2.JPG", "1.jpg", "3.png"):
        write(tmp_path / "inverted-jenny" / name)
    assert items(tmp_path)["inverted-jenny"].image == str(tmp_path / "inverted-jenny" / "1.jpg")


@pytest.mark.parametrize("suffix", ["HEIC", "heif", "hif", "avif", "jfif"])
def test_what_phones_and_shops_send_is_an_image(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / f"IMG_0001.{suffix}")
    assert set(items(tmp_path)) == {"IMG_0001"}


def test_a_nested_folder_is_a_class_named_by_its_path(tmp_path: Path) -> None:
    write(tmp_path / "stamps" / "penny-black" / "1.webp")
    write(tmp_path / "coins" / "penny-black" / "1.tiff")
    assert set(items(tmp_path)) == {"stamps:penny-black", "coins:penny-black"}


@pytest.mark.parametrize("class_id", ["全角\u3000空白", "no\u00a0break", 'it\'s; "quoted"'])
def test_an_id_may_hold_any_text_in_either_kind_of_source(tmp_path: Path, class_id: str) -> None:
    write(tmp_path / "pictures" / f"{class_id}.png")
    assert set(items(tmp_path / "pictures")) == {class_id}
    manifest = write(tmp_path / "list.jsonl", json.dumps({"id": class_id, "image": "a.png"}))
    assert set(items(manifest)) == {class_id}


@pytest.mark.parametrize("name", [b"caf\xe9.png", b"caf\xe9/1.png", b"cafe/\xe9.png"])
def test_a_file_whose_name_is_not_utf_8_is_a_problem_that_can_be_reported(tmp_path: Path, name: bytes) -> None:
    write(tmp_path / "pictures" / "good.png")
    write(tmp_path / "pictures" / os.fsdecode(name))
    with Journal(tmp_path / "job") as journal:
        counts = journal.scan(open_source(str(tmp_path / "pictures")))
        assert (counts.pending, counts.problems) == (1, 1)
        (note,) = journal.notes()
    assert "\\udce9" in note.message
    note.image.encode()


def linked(path: Path, to: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(to)


def test_links_to_files_and_folders_are_followed_at_every_level(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "pictures", tmp_path / "elsewhere"
    write(elsewhere / "penny" / "1.png")
    write(elsewhere / "red.png")
    linked(root / "penny", elsewhere / "penny")
    linked(root / "red.png", elsewhere / "red.png")
    linked(root / "stamps" / "deep" / "red", elsewhere / "penny2")
    write(elsewhere / "penny2" / "1.png")
    linked(root / "stamps" / "blue" / "1.png", elsewhere / "red.png")
    assert set(items(root)) == {"penny", "red", "stamps:deep:red", "stamps:blue"}


def test_nothing_that_links_lead_to_is_a_class_twice_and_no_circle_is_walked(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "pictures", tmp_path / "elsewhere"
    write(root / "penny" / "1.png")
    write(root / "red.png")
    write(elsewhere / "blue" / "1.png")
    write(elsewhere / "green" / "1.png")
    linked(root / "a-link", root / "penny")  # before what it leads to
    linked(root / "z-link", root / "penny")
    linked(root / "same.png", root / "red.png")
    linked(root / "one", elsewhere / "blue")
    linked(root / "two", elsewhere)
    linked(root / "circle", root)
    linked(root / "penny" / "circle", root)
    linked(root / "penny" / "above", tmp_path)
    linked(elsewhere / "circle", elsewhere)
    found = LeftOut()
    entries = list(open_source(str(root), left_out=found))
    assert [entry.class_id for entry in entries if isinstance(entry, Item)] == ["one", "penny", "red", "two:green"]
    assert len(entries) == 4
    assert found.count == 8
    assert f"{root}/a-link (a link to a folder that is read already)" in found.such_as


def test_pictures_that_are_stored_out_of_sight_are_found_through_their_links(tmp_path: Path) -> None:
    write(tmp_path / ".store" / "0815.png")
    write(tmp_path / ".store" / "blue" / "1.png")
    linked(tmp_path / "red.png", tmp_path / ".store" / "0815.png")
    linked(tmp_path / "blue", tmp_path / ".store" / "blue")
    assert set(items(tmp_path)) == {"red", "blue"}


def test_a_link_that_leads_nowhere_is_a_problem(tmp_path: Path) -> None:
    linked(tmp_path / "gone", tmp_path / "nowhere")
    linked(tmp_path / "self", tmp_path / "self")
    assert [entry.place for entry in open_source(str(tmp_path)) if isinstance(entry, Problem)] == [
        str(tmp_path / "gone"),
        str(tmp_path / "self"),
    ]


def test_what_systems_make_and_what_is_hidden_is_no_class_and_is_told(tmp_path: Path) -> None:
    names = ["@eaDir", "#recycle", ".AppleDouble", "__MACOSX", "lost+found", ".hidden"]
    for name in names:
        write(tmp_path / name / "1.png")
        write(tmp_path / "penny" / name / "1.png")
    write(tmp_path / "._penny.png")
    write(tmp_path / ".DS_Store")
    write(tmp_path / "penny" / "1.png")
    found = LeftOut()
    assert [entry.class_id for entry in open_source(str(tmp_path), left_out=found) if isinstance(entry, Item)] == [
        "penny"
    ]
    assert found.count == 2 * len(names) + 1
    assert f"{tmp_path}/#recycle (hidden, or made by a system)" in found.such_as


def test_the_outcome_tells_what_was_left_out(tmp_path: Path) -> None:
    write(tmp_path / "p" / "@eaDir" / "1.png")
    write(tmp_path / "p" / "notes.txt")
    (tmp_path / "p" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(8))
    done = exemplar("index", tmp_path / "p", "-g", "g", "--dry-run")
    assert done.returncode == 0
    assert f"1 left out: {tmp_path}/p/@eaDir" in done.stdout.replace("\n", "")
    assert "notes.txt" in done.stdout
    told = json.loads(exemplar("index", tmp_path / "p", "-g", "g", "--dry-run", "--json").stdout)["left_out"]
    assert (told["count"], told["others"]) == (1, 1)


def test_a_folder_without_an_image_is_an_error_that_names_what_is_there(tmp_path: Path, tiny_bundle: Path) -> None:
    for name in ("a.dng", "b.pdf"):
        write(tmp_path / "p" / name)
    for mode in (("-g", "g", "--dry-run"), ("--shards", tmp_path / "shards", "--bundle", tiny_bundle)):
        done = exemplar("index", tmp_path / "p", *mode)
        said = " ".join(done.stderr.split())
        assert (done.returncode, "holds no images" in said, "a.dng" in said) == (1, True, True), said
        assert ".heic" in said


def test_a_part_of_an_image_may_be_meant(tmp_path: Path) -> None:
    manifest = write(
        tmp_path / "list.csv", 'id,image,region\na,a.png,"10,20,30,40"\nb,a.png,"10%,0%,50%,100%"\nc,a.png,\n'
    )
    assert {name: found.region for name, found in items(manifest).items()} == {
        "a": "10,20,30,40",
        "b": "10%,0%,50%,100%",
        "c": "",
    }
    assert all(found.attributes == {} for found in items(manifest).values())
    manifest = write(tmp_path / "list.jsonl", '{"id": "a", "image": "a.png", "region": "10,20,30,40"}\n')
    assert items(manifest)["a"].region == "10,20,30,40"


def test_a_csv_manifest_gives_names_and_attributes(tmp_path: Path) -> None:
    manifest = write(
        tmp_path / "list.csv",
        "\ufeffid,image,display_name,attributes,attributes.year,color\n"
        'a,pictures/a.png,"Penny, black","{""rare"": true, ""country"": ""GB""}",1840,black\n'
        "b,/absolute/b.png,,,,\n"
        "c,https://example.org/c.png,,,,\n",
    )
    found = items(manifest)
    assert found["a"] == Item(
        "a",
        f"{tmp_path}/pictures/a.png",
        f"{manifest}:2",
        "Penny, black",
        {"rare": "true", "country": "GB", "year": "1840", "color": "black"},
    )
    assert (found["b"].image, found["b"].attributes) == ("/absolute/b.png", {})
    assert found["c"].image == "https://example.org/c.png"


def test_a_jsonl_manifest_gives_names_and_attributes(tmp_path: Path) -> None:
    manifest = write(
        tmp_path / "list.jsonl",
        '{"id": 7, "image": "a.png", "display_name": "Ä", "attributes": {"year": 1840}, "color": "black"}\n\n',
    )
    assert items(manifest) == {
        "7": Item("7", f"{tmp_path}/a.png", f"{manifest}:1", "Ä", {"year": "1840", "color": "black"})
    }


def test_a_parquet_manifest_gives_names_and_attributes(tmp_path: Path) -> None:
    manifest = tmp_path / "list.parquet"
    columns = {
        "id": pa.array(["a", "b", None]),
        "image": pa.array(["a.png", "/absolute/b.png", "c.png"]),
        "display_name": pa.array(["Ä", None, ""]),
        "region": pa.array(["1,2,3,4", "", None]),
        "attributes": pa.array([[("rare", "yes")], None, []], pa.map_(pa.string(), pa.string())),
        "year": pa.array([1840, None, 3]),
        "seen": pa.array([datetime.date(1840, 5, 6), None, None]),
    }
    pq.write_table(pa.table(columns), manifest)
    first, second, third = open_source(str(manifest))
    assert first == Item(
        "a",
        f"{tmp_path}/a.png",
        f"{manifest}:1",
        "Ä",
        {"rare": "yes", "year": "1840", "seen": "1840-05-06"},
        "1,2,3,4",
    )
    assert second == Item("b", "/absolute/b.png", f"{manifest}:2")
    assert isinstance(third, Problem)
    assert (third.place, third.message) == (f"{manifest}:3", "the row has no id")


def test_a_parquet_manifest_of_many_rows_keeps_their_order(tmp_path: Path) -> None:
    names = [f"c{number}" for number in range(2500)]
    pq.write_table(pa.table({"id": names, "image": names}), tmp_path / "list.parquet", row_group_size=700)
    assert list(items(tmp_path / "list.parquet")) == names


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (pa.table({"id": ["a"]}), "the manifest has no column image; it has id"),
        (None, "is no Parquet"),
    ],
)
def test_a_parquet_file_that_is_no_manifest_is_refused(tmp_path: Path, table: pa.Table | None, words: str) -> None:
    manifest = write(tmp_path / "list.parquet", "no parquet at all")
    if table:
        pq.write_table(table, manifest)
    with pytest.raises(SourceError, match=words):
        list(open_source(str(manifest)))


def test_bytes_in_a_parquet_manifest_are_a_problem_of_the_row(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"], "image": [b"the image"]}), tmp_path / "list.parquet")
    assert "image holds bytes" in problem(tmp_path / "list.parquet").message


def test_the_entries_of_a_folder_come_by_name(tmp_path: Path) -> None:
    names = ["b", "a", "Z", "c1", "c", "é"]
    for name in names:
        write(tmp_path / f"{name}.png")
    write(tmp_path / "d" / "2.png")
    write(tmp_path / "d" / "1.png")
    assert list(items(tmp_path)) == ["Z", "a", "b", "c", "c1", "d", "é"]


@pytest.mark.parametrize(
    ("name", "row", "words"),
    [
        ("m.csv", "id,image\n,a.png\n", "has no id"),
        ("m.csv", "id,image\na,\n", "has no image"),
        ("m.csv", "id,image\na,b,c\n", "more values"),
        ("m.csv", "id,image,attributes\na,b,{\n", "no JSON object"),
        ("m.csv", "id,image\na/b,b.png\n", "holds no '/'"),
        ("m.csv", f"id,image\n{'a' * 129},b.png\n", "this one has 129"),
        ("m.csv", "id,image,region\na,b.png,left\n", "a region is LEFT,TOP,WIDTH,HEIGHT"),
        ("m.csv", 'id,image,region\na,b.png,"1,2,3"\n', "a region is LEFT,TOP,WIDTH,HEIGHT"),
        ("m.csv", 'id,image\n"a,b.png\n', "the row is no CSV"),
        ("m.csv", 'id,image\n"a"b,b.png\n', "the row is no CSV"),
        ("m.csv", f"id,image\na,{'b' * 200_000}\n", "the row is no CSV: field larger"),
        ("m.csv", 'id,image,region\na,b.png,"1,2,3,99999999999"\n', "99999999999"),
        ("m.csv", f'id,image,attributes\na,b,"{"[" * 100_000}"\n', "no JSON object"),
        ("m.jsonl", "[" * 100_000 + "\n", "no JSON"),
        ("m.jsonl", "1" * 5000 + "\n", "no JSON"),
        ("m.jsonl", '{"id": "a\\ud800", "image": "b"}\n', "not UTF-8"),
        ("m.jsonl", '{"id": "a", "image": "b\\ud800"}\n', "is no text"),
        ("m.jsonl", "{\n", "no JSON"),
        ("m.jsonl", "[1]\n", "no JSON object"),
        ("m.jsonl", '{"id": "a\\u0007", "image": "b"}\n', "control characters"),
        ("m.jsonl", '{"id": "a", "image": "b", "attributes": [1]}\n', "no JSON object"),
        ("m.jsonl", '{"id": "a", "image": "b", "color": "\\ud800"}\n', "is no text"),
    ],
)
def test_a_bad_row_is_named_by_its_line_and_costs_only_itself(
    tmp_path: Path, name: str, row: str, words: str
) -> None:
    header, _, _ = row.partition("\n")
    good = (
        '{"id": "good", "image": "b"}\n'
        if name.endswith("jsonl")
        else "good,b.png" + "," * (header.count(",") - 1) + "\n"
    )
    manifest = write(tmp_path / name, row + good)
    found = problem(manifest)
    assert words in found.message
    assert found.place == f"{manifest}:{2 if name == 'm.csv' else 1}"
    assert [entry.class_id for entry in open_source(str(manifest)) if isinstance(entry, Item)] == ["good"]


@pytest.mark.parametrize(
    ("name", "start", "row", "good"),
    [
        ("m.csv", b"id,image\n", b"caf\xe9,a.png\n", b"good,b.png\n"),
        ("m.csv", b"id,image\n", b"a,caf\xe9.png\n", b"good,b.png\n"),
        ("m.jsonl", b"", b'{"id": "a", "image": "caf\xe9.png"}\n', b'{"id": "good", "image": "b.png"}\n'),
    ],
)
def test_a_row_that_is_not_utf_8_costs_only_itself(
    tmp_path: Path, name: str, start: bytes, row: bytes, good: bytes
) -> None:
    manifest = tmp_path / name
    manifest.write_bytes(start + row + good)
    with Journal(tmp_path / "job") as journal:
        assert (journal.scan([e for e in open_source(str(manifest)) if isinstance(e, Problem)]).problems) == 1
        (note,) = journal.notes()
    assert note.place == f"{manifest}:{2 if start else 1}"
    assert "\\udce9" in note.message
    assert [entry.class_id for entry in open_source(str(manifest)) if isinstance(entry, Item)] == ["good"]


def test_every_row_after_an_open_quote_is_read_and_keeps_its_line(tmp_path: Path) -> None:
    manifest = write(tmp_path / "m.csv", 'id,image\na,a.png\n"b,b.png\nc,c.png\n"d\n",d.png\n/,e.png\n')
    entries = list(open_source(str(manifest)))
    places = [(type(entry).__name__, entry.place.rpartition(":")[2]) for entry in entries]
    assert places == [("Item", "2"), ("Problem", "3"), ("Item", "4"), ("Problem", "5"), ("Problem", "7")]


def test_a_parquet_row_that_cannot_be_read_costs_only_itself(tmp_path: Path) -> None:
    twice = pa.array([[("k", "1"), ("k", "2")], [("k", "1")]], pa.map_(pa.string(), pa.string()))
    names = pa.array(["a", "good"])
    pq.write_table(pa.table({"id": names, "image": names, "attributes": twice}), tmp_path / "keys.parquet")
    text = pa.Array.from_buffers(pa.string(), 2, pa.array([b"\xe9", b"good"], pa.binary()).buffers())
    pq.write_table(pa.table({"id": text, "image": names}), tmp_path / "text.parquet")
    years = pa.array([10**15, 0], pa.timestamp("ms"))
    pq.write_table(pa.table({"id": names, "image": names, "seen": years}), tmp_path / "years.parquet")
    for name in ("keys", "text", "years"):
        manifest = tmp_path / f"{name}.parquet"
        found = problem(manifest)
        assert (found.place, "the row cannot be read" in found.message) == (f"{manifest}:1", True)
        assert [entry.class_id for entry in open_source(str(manifest)) if isinstance(entry, Item)] == ["good"]


@pytest.mark.parametrize("image", ["a\0.png", "http://[/a.png", "nosuch://x", "file://\0", "x" * 5000])
def test_an_image_that_no_file_can_be_is_a_failure_of_its_item(tmp_path: Path, image: str) -> None:
    with pytest.raises(ImageUnreadableError, match="cannot be read"):
        read_image(image)
    write(tmp_path / "m.jsonl", json.dumps({"id": "a", "image": image}))
    with Journal(tmp_path / "job") as journal:
        counts = journal.scan(open_source(str(tmp_path / "m.jsonl")))
    assert counts.problems + counts.pending == 1


def test_a_source_whose_own_path_is_not_utf_8_is_refused_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9")
    path.mkdir()
    with pytest.raises(SourceError, match="is not UTF-8"):
        open_source(str(path))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("absent", None, "there is no folder or manifest at"),
        ("list.txt", b"", "neither a folder nor a manifest"),
        ("list.csv", b"name,picture\n", "no column id and image"),
        ("list.csv", b'id,"image\n', "is no CSV"),
        ("list.csv", b"id,image,caf\xe9\n", "is not UTF-8"),
    ],
)
def test_a_source_that_cannot_be_read_is_refused_with_a_sentence(
    tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=words):
        list(open_source(str(path)))


def test_a_manifest_and_its_images_may_be_on_a_web_server(tmp_path: Path, site: str) -> None:
    write(tmp_path / "list.csv", "id,image\na,a.png\nb,gone.png\n")
    write(tmp_path / "a.png", "the image")
    found = items(f"{site}/list.csv")
    assert read_image(found["a"].image) == b"the image"
    with pytest.raises(ImageUnreadableError, match="there is no image at http"):
        read_image(found["b"].image)


@pytest.mark.parametrize("url", ["nosuch://bucket/a.png", "http://127.0.0.1:1/a.png"])
def test_a_url_that_leads_nowhere_is_said_so(url: str) -> None:
    with pytest.raises(ImageUnreadableError, match=r"cannot be read|there is no image"):
        read_image(url)
