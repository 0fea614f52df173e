"""A tree of images becomes classes, groups and sources, or a sentence that names what is wrong."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from exemplar_encoder import Preprocessing
from exemplar_trainer.data.image_set import DatasetError, ImageSet
from exemplar_trainer.data.reading import GROUPS, read_data_set, read_images

SPEC = Preprocessing(16, 16, 1)
FLAT = [f"c{label}/{index}_s{index}.png" for label in range(6) for index in range(3)]
GROUPED = [f"{group}/{name}" for group in ("Greek", "Latin") for name in FLAT]


def png(name: str) -> bytes:
    """Return a picture that differs with its name."""
    rng = np.random.default_rng(list(name.encode()))
    stream = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (20, 20), dtype=np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def plant(root: Path, names: Iterable[str]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(png(Path(name).name))
    return root


def pack(path: Path, names: Iterable[str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, png(Path(name).name))
    return path


def refusal(root: Path, max_unreadable: int = 20) -> str:
    with pytest.raises(DatasetError) as caught:
        read_data_set(root, SPEC, max_unreadable)
    assert str(root) in str(caught.value)
    return str(caught.value)


def facts(images: ImageSet) -> tuple[object, ...]:
    return images.class_names, images.groups, images.sources, images.paths, images.labels.tolist()


def test_classes_groups_sources_and_paths_are_read_from_the_tree(tmp_path: Path) -> None:
    images = read_data_set(plant(tmp_path, GROUPED), SPEC)
    assert images.class_names == tuple(sorted({name.rsplit("/", 1)[0] for name in GROUPED}))
    assert images.groups == ("Greek",) * 6 + ("Latin",) * 6
    assert images.paths == tuple(sorted(GROUPED))
    assert images.sources == ("s0", "s1", "s2") * 12
    assert images.labels.tolist() == np.repeat(np.arange(12), 3).tolist()
    assert images.pixels.shape == (36, 16, 16, 1)
    assert [members.tolist() for members in images.members[:2]] == [[0, 1, 2], [3, 4, 5]]
    assert {group: classes.tolist() for group, classes in images.classes_by_group.items()} == {
        "Greek": [0, 1, 2, 3, 4, 5],
        "Latin": [6, 7, 8, 9, 10, 11],
    }


def test_photographs_as_phones_and_shops_send_them_are_read(tmp_path: Path) -> None:
    for name, kind in (("IMG_1.HEIC", "HEIF"), ("2.avif", "AVIF"), ("3.jfif", "JPEG"), ("4.hif", "HEIF")):
        for folder in ("a", "b", "c", "d"):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.open(io.BytesIO(png(folder + name))).save(tmp_path / folder / name, kind)
    assert len(read_images(tmp_path, SPEC).labels) == 16


def test_a_folder_and_a_zip_of_it_give_the_same_set(tmp_path: Path) -> None:
    folder = read_data_set(plant(tmp_path / "folder", GROUPED), SPEC)
    packed = read_data_set(pack(tmp_path / "packed.zip", reversed(GROUPED)), SPEC)
    assert facts(folder) == facts(packed)
    assert np.array_equal(folder.pixels, packed.pixels)


@pytest.mark.parametrize("wrapping", ["omniglot", "a/b/c"])
def test_a_folder_that_wraps_everything_is_no_group(tmp_path: Path, wrapping: str) -> None:
    plain = read_data_set(plant(tmp_path / "plain", FLAT), SPEC)
    wrapped = read_data_set(pack(tmp_path / "w.zip", [f"{wrapping}/{name}" for name in FLAT]), SPEC)
    assert facts(plain) == facts(wrapped)
    assert set(wrapped.groups) == {""}


def test_a_wrapping_folder_does_not_hide_the_groups_inside(tmp_path: Path) -> None:
    images = read_data_set(plant(tmp_path, [f"wrap/{name}" for name in GROUPED]), SPEC)
    assert set(images.groups) == {"Greek", "Latin"}


def test_groups_are_of_any_depth_and_mix_with_classes_that_have_none(tmp_path: Path) -> None:
    tree = [*FLAT, *(f"scripts/old/Greek/{name}" for name in FLAT), *(f"logos/{name}" for name in FLAT)]
    images = read_data_set(plant(tmp_path, tree), SPEC)
    assert sorted(images.classes_by_group) == ["", "logos", "scripts/old/Greek"]
    assert all(len(classes) == 6 for classes in images.classes_by_group.values())


def test_hidden_files_and_archive_leftovers_and_other_files_are_ignored(tmp_path: Path) -> None:
    clutter = ["__MACOSX/c0/0.png", ".git/x/1.png", "c0/.hidden.png", "c1/notes.txt", "README", "c2/Thumbs.db"]
    images = read_data_set(plant(tmp_path / "folder", [*FLAT, *clutter]), SPEC)
    packed = read_data_set(pack(tmp_path / "packed.zip", [*FLAT, *clutter]), SPEC)
    assert images.paths == packed.paths == tuple(sorted(FLAT))
    assert not images.skipped


def test_an_image_listed_twice_in_a_zip_counts_once(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = pack(tmp_path / "twice.zip", [*FLAT, FLAT[0]])
    assert len(read_data_set(path, SPEC).labels) == len(FLAT)


def test_progress_counts_up_to_all_images(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    read_data_set(plant(tmp_path, FLAT), SPEC, on_count=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (18, 18)


# Groups from a file


def with_groups(root: Path, text: str) -> Path:
    (plant(root, FLAT) / GROUPS).write_text(text)
    return root


def test_a_file_puts_classes_into_groups(tmp_path: Path) -> None:
    images = read_data_set(with_groups(tmp_path, "class,group\nc0,round\nc1,square\nc5,round\n"), SPEC)
    assert images.groups == ("round", "square", "", "", "", "round")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("class,group\nflags/c0,round\n", "classes.csv names none of the classes; it has flags/c0"),
        ("class,group\n", "classes.csv names none of the classes; it has no rows"),
        ("name,group\nc0,round\n", "classes.csv has no column 'class'; it needs class and group"),
    ],
)
def test_a_file_of_groups_that_is_something_else_is_refused(tmp_path: Path, text: str, words: str) -> None:
    assert words in refusal(with_groups(tmp_path, text))


# Refusals


def test_an_empty_folder_and_an_empty_zip_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no images" in refusal(tmp_path / "empty")
    assert "holds no images" in refusal(pack(tmp_path / "empty.zip", []))


def test_what_is_neither_folder_nor_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    assert "neither a folder nor a zip file" in refusal(tmp_path / "text")
    assert "there is no such" in refusal(tmp_path / "nowhere")


def test_a_damaged_zip_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "damaged.zip", FLAT)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"PK\x01\x02", b"PK\x01\x03"))
    assert "damaged zip file" in refusal(path)


def test_classes_with_one_image_are_named(tmp_path: Path) -> None:
    message = refusal(plant(tmp_path, [*FLAT, "alone/1.png", "lonely/1.png"]))
    assert "alone, lonely" in message
    assert "two" in message


def test_a_long_list_of_paths_is_cut_and_counted(tmp_path: Path) -> None:
    message = refusal(plant(tmp_path, [*FLAT, *(f"alone{index}/1.png" for index in range(9))]))
    assert "alone0, alone1, alone2, alone3, alone4 and 4 more" in message


def test_images_outside_a_class_folder_are_named(tmp_path: Path) -> None:
    message = refusal(plant(tmp_path, [*FLAT, "stray.png"]))
    assert "stray.png" in message
    assert "class folder" in message


def test_a_single_class_is_not_called_an_image_without_a_class(tmp_path: Path) -> None:
    message = refusal(plant(tmp_path, ["cats/1.png", "cats/2.png", "cats/3.png"]))
    assert "holds 1 class" in message


def test_images_all_in_one_place_need_class_folders(tmp_path: Path) -> None:
    assert "class folder" in refusal(plant(tmp_path, ["1.png", "2.png"]))


def test_too_few_classes_are_counted(tmp_path: Path) -> None:
    message = refusal(plant(tmp_path, [name for name in FLAT if name < "c3"]))
    assert "holds 3 classes" in message


def spoil(root: Path, names: Iterable[str]) -> None:
    for name in names:
        (root / name).write_bytes(b"no image")


def test_unreadable_images_are_skipped_and_counted_up_to_the_limit(tmp_path: Path) -> None:
    spoil(plant(tmp_path, FLAT), [FLAT[0], FLAT[4]])
    images = read_data_set(tmp_path, SPEC, max_unreadable=2)
    assert len(images.labels) == 16
    assert [line.split(":")[0] for line in images.skipped] == [FLAT[0], FLAT[4]]
    assert "not an image" in images.skipped[0]
    message = refusal(tmp_path, max_unreadable=1)
    assert FLAT[0] in message
    assert FLAT[4] in message
    assert "more than 1 " in message


def test_a_class_left_with_one_readable_image_is_named(tmp_path: Path) -> None:
    spoil(plant(tmp_path, FLAT), FLAT[:2])
    assert "c0" in refusal(tmp_path)


def test_a_class_left_with_no_readable_image_is_named(tmp_path: Path) -> None:
    spoil(plant(tmp_path, FLAT), FLAT[:3])
    assert "c0" in refusal(tmp_path)


def damage(path: Path, name: str, method: int, offset: int, value: bytes) -> Path:
    """Zip the tree and overwrite bytes of one member's content."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for each in FLAT:
            archive.writestr(each, png(each))
        start = archive.getinfo(name).header_offset
    content = bytearray(path.read_bytes())
    place = start + 30 + sum(struct.unpack("<HH", content[start + 26 : start + 30])) + offset
    content[place : place + len(value)] = value
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("method", "value"), [(zipfile.ZIP_STORED, b"\0\1\2"), (zipfile.ZIP_DEFLATED, b"\xff\xff\xff\xff")]
)
def test_a_damaged_member_of_a_zip_is_skipped_and_named(tmp_path: Path, method: int, value: bytes) -> None:
    images = read_data_set(damage(tmp_path / "damaged.zip", FLAT[1], method, 0, value), SPEC)
    assert [line.split(":")[0] for line in images.skipped] == [FLAT[1]]


@pytest.mark.parametrize("flag", [b"\x01\x00", b"\x00\x00"])
def test_an_encrypted_or_strangely_compressed_member_is_skipped_and_named(tmp_path: Path, flag: bytes) -> None:
    path = pack(tmp_path / "locked.zip", FLAT)
    content = bytearray(path.read_bytes())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = content.index(signature)
        if flag == b"\x01\x00":
            content[start + place : start + place + 2] = flag
        else:  # an unknown compression method follows the flags
            content[start + place + 2 : start + place + 4] = b"\x63\x00"
    path.write_bytes(content)
    assert [line.split(":")[0] for line in read_data_set(path, SPEC).skipped] == [FLAT[0]]


def test_a_picture_far_larger_than_any_limit_inside_a_zip_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in FLAT:
            archive.writestr(name, png(name))
        archive.writestr("c0/bomb.png", bytes(60 * 1024 * 1024))
    tracemalloc.start()
    try:
        images = read_data_set(path, SPEC)
        assert tracemalloc.get_traced_memory()[1] < 20 * 1024 * 1024
    finally:
        tracemalloc.stop()
    assert len(images.skipped) == 1
    assert "62,914,560 bytes; the limit is 16,777,216" in images.skipped[0]
