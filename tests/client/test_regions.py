"""A part of an image goes wherever an image goes, from Python and from the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import typer
from google.protobuf.message import Message

from exemplar import Client, Enrollment, Part, Region
from exemplar.commands.pictures import parse_region, written
from exemplar.v1 import classification_service_pb2 as classification_pb
from exemplar.v1 import gallery_service_pb2 as gallery_pb
from exemplar.v1 import resources_pb2 as resources_pb
from tests.client.command import run
from tests.client.scripted_server import ScriptedServer, scripted_server

UNKNOWN = classification_pb.VERDICT_UNKNOWN
PIXELS = resources_pb.Region(pixels=resources_pb.PixelBox(left=10, top=20, width=300, height=200))
SHARES = resources_pb.Region(fractions=resources_pb.FractionBox(left=0.1, top=0.25, width=0.333, height=0.5))
FIRST, SECOND = Region(10, 20, 300, 200), Region(0.1, 0.25, 0.333, 0.5, "fraction")
CLASS = resources_pb.ImageClass(
    name="galleries/g/classes/c",
    exemplars=[resources_pb.Exemplar(sha256="0" * 64, region=region) for region in (PIXELS, SHARES, None)],
)
ENROLLED = gallery_pb.EnrollClassResponse(image_class=CLASS)


def classified(request: Any, context: grpc.ServicerContext) -> Message:
    result = classification_pb.BatchClassifyResult(classification=classification_pb.Classification(verdict=UNKNOWN))
    return classification_pb.BatchClassifyResponse(results=[result] * len(request.queries))


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    answers: dict[str, Any] = {
        "Classify": lambda *_: classification_pb.ClassifyResponse(
            classification=classification_pb.Classification(verdict=UNKNOWN)
        ),
        "BatchClassify": classified,
        "Embed": lambda *_: classification_pb.EmbedResponse(),
        "BatchEmbed": lambda *_: classification_pb.BatchEmbedResponse(),
        "EnrollClass": lambda *_: ENROLLED,
        "BatchEnrollClasses": lambda *_: gallery_pb.BatchEnrollClassesResponse(),
        "AddExemplars": lambda *_: gallery_pb.AddExemplarsResponse(image_class=CLASS),
        "CheckExemplar": lambda *_: gallery_pb.CheckExemplarResponse(),
        "GetClass": lambda *_: gallery_pb.GetClassResponse(image_class=CLASS),
    }
    with scripted_server(answers) as running:
        yield running


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "shelf.png"
    path.write_bytes(b"a shelf")
    return path


def test_a_part_is_taken_wherever_an_image_is(server: ScriptedServer, file: Path) -> None:
    whole = resources_pb.Image(content=b"a shelf")
    pixels = resources_pb.Image(content=b"a shelf", region=PIXELS)
    shares = resources_pb.Image(content=b"a shelf", region=SHARES)
    part = Part(file, FIRST)
    with Client(server.address) as client:
        client.classify("g", part)
        client.classify_many("g", [file, part, Part(b"a shelf", SECOND)])
        client.embed(part)
        client.embed_many([part])
        client.enroll("g", "c", part)
        client.enroll_many("g", [Enrollment("c", [part, Part(file, SECOND)])])
        client.add_exemplars("g", "c", [part])
        client.check(part)
    sent = [request for _, request in server.calls]
    assert sent[0].query.image == pixels
    assert [query.image for query in sent[1].queries] == [whole, pixels, shares]
    assert sent[2].image == pixels
    assert list(sent[3].images) == [pixels]
    assert list(sent[4].enrollment.images) == [pixels]
    assert list(sent[5].enrollments[0].images) == [pixels, shares]
    assert list(sent[6].images) == [pixels]
    assert sent[7].image == pixels


def test_an_exemplar_tells_its_region(server: ScriptedServer) -> None:
    with Client(server.address) as client:
        found = client.get_class("g", "c").exemplars
    assert [each.region for each in found] == [FIRST, SECOND, None]


def test_the_file_of_a_part_is_missed_before_anything_is_sent(server: ScriptedServer, tmp_path: Path) -> None:
    with Client(server.address) as client, pytest.raises(FileNotFoundError, match=r"gone\.png"):
        client.classify_many("g", [b"1"] * 300 + [Part(tmp_path / "gone.png", FIRST)])
    assert not server.calls


def test_a_region_is_in_whole_pixels_or_in_fractions() -> None:
    with pytest.raises(ValueError, match="whole numbers"):
        Region(0.1, 0, 10, 10)
    with pytest.raises(ValueError, match="pixel or fraction"):
        Region(0, 0, 1, 1, "percent")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("10,20,300,200", FIRST),
        ("10%,25%,33.3%,50%", SECOND),
        (" 10 , 20 , 300 , 200 ", FIRST),
        ("0%,0%,100%,100%", Region(0, 0, 1, 1, "fraction")),
        ("0,0,1,1", Region(0, 0, 1, 1)),
    ],
)
def test_a_written_region_is_read_and_written_again(text: str, region: Region) -> None:
    assert parse_region(text) == region
    assert parse_region(written(region)) == region


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "1,2,3,4%", "0.1,0.2,0.5,0.5", "a,b,c,d", "1%,2%,3%,x%"])
def test_what_is_no_region_is_refused_with_the_two_forms(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"10,20,300,200.*10%,20%,50%,50%"):
        parse_region(text)


def test_the_command_line_asks_about_every_region_of_a_picture(server: ScriptedServer, file: Path) -> None:
    regions = ["--region", "10,20,300,200", "--region", "10%,25%,33.3%,50%"]
    at = ["--address", server.address]
    done = run("classify", "g", file, *regions, "--json", *at)
    results = json.loads(done.stdout)["results"]
    assert [each["image"] for each in results] == [str(file)] * 2
    assert [each["region"]["unit"] for each in results] == ["pixel", "fraction"]
    assert [query.image.region for query in server.calls[0][1].queries] == [PIXELS, SHARES]
    assert "shelf.png 10,20,300,200" in run("classify", "g", file, *regions, *at).stdout


def test_the_command_line_teaches_by_regions(server: ScriptedServer, file: Path) -> None:
    at = ["--address", server.address]
    for command in (["enroll", "g", "c"], ["exemplars", "add", "g", "c"], ["check"]):
        done = run(*command, file, "--region", "10,20,300,200", *at)
        assert done.returncode == 0, done.stderr
    (_, enrolled), (_, added), (_, checked) = server.calls
    images = [enrolled.enrollment.images[0], added.images[0], checked.image]
    assert [image.region for image in images] == [PIXELS] * 3
    shown = run("classes", "show", "g", "c", *at).stdout
    assert "10,20,300,200" in shown
    assert "10%,25%,33.3%,50%" in shown


def test_a_wrong_region_is_wrong_usage(file: Path) -> None:
    done = run("classify", "g", file, "--region", "1,2,3")
    assert done.returncode == 2
    assert "LEFT,TOP,WIDTH,HEIGHT" in done.stderr
