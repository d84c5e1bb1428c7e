"""`folder:DIR`: which files, in which order, with which labels."""

import os
import pickle
import subprocess
import sys

import pytest
from PIL import Image

from atlas.data import open_source
from atlas.data.images import BadImage
from atlas.errors import UserError
from atlas.recipe import Data


def folder(root, **options):
    return open_source(Data(f"folder:{root}", **options))


def put(root, *paths):
    for number, path in enumerate(paths):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (number, 0, 0)).save(file, "PNG")


def keys(source):
    return [record.key for record in source.records()]


def test_class_folders(tmp_path):
    put(tmp_path, "tench/b.png", "tench/a.JPEG", "tench/more/c.gif", "shark/z.jpg")
    (tmp_path / "tench" / "notes.txt").write_text("no picture")
    (tmp_path / "empty").mkdir()
    source = folder(tmp_path)
    assert source.classes == ("shark", "tench")
    assert [(r.index, r.key, r.label) for r in source.records()] == [
        (0, "shark/z.jpg", 0),
        (1, "tench/a.JPEG", 1),
        (2, "tench/b.png", 1),
        (3, "tench/more/c.gif", 1),
    ]
    assert source.count == 4
    colours = [record.picture().getpixel((0, 0))[0] for record in source.records()]
    assert colours == [3, 1, 0, 2]


def test_flat_folder_has_no_labels(tmp_path):
    put(tmp_path, "b.png", "a.png")
    source = folder(tmp_path)
    assert source.classes is None
    assert [(r.key, r.label) for r in source.records()] == [("a.png", None), ("b.png", None)]


def test_mixed_folder(tmp_path):
    put(tmp_path, "a.png", "cat/b.png", "z.png")
    source = folder(tmp_path)
    assert source.classes == ("cat",)
    assert [(r.key, r.label) for r in source.records()] == [
        ("a.png", None),
        ("cat/b.png", 0),
        ("z.png", None),
    ]


def test_order_is_by_part_of_the_path_and_by_code_point(tmp_path):
    put(tmp_path, "a/2.png", "a-b/1.png", "B/1.png", "a/10.png", "ä/1.png", "a/b/1.png")
    assert keys(folder(tmp_path)) == [
        "B/1.png",
        "a/10.png",
        "a/2.png",
        "a/b/1.png",
        "a-b/1.png",
        "ä/1.png",
    ]


def test_hidden_files_and_other_endings_are_ignored(tmp_path):
    put(tmp_path, "a.png", ".b.png", "._a.png", ".cache/c.png", "x/.git/d.png")
    for name in ("a.txt", "b.npy", "c.pdf", "noending", "png", "d.png.partial"):
        (tmp_path / name).write_bytes(b"x")
    assert keys(folder(tmp_path)) == ["a.png"]


def test_fetch_gives_just_these_in_order(tmp_path):
    put(tmp_path, *(f"c/{i}.png" for i in range(6)))
    source = folder(tmp_path)
    assert [r.index for r in source.fetch([5, 0, 3, 0])] == [0, 3, 5]
    assert [r.key for r in source.fetch([4])] == ["c/4.png"]
    assert list(source.fetch([])) == []
    for wrong in ([6], [-1]):
        with pytest.raises(UserError, match="has 6 samples"):
            list(source.fetch(wrong))


def test_start_and_limit(tmp_path):
    put(tmp_path, *(f"c{i}/x.png" for i in range(6)))
    source = folder(tmp_path, limit=4)
    assert source.count == 4
    assert len(source.classes) == 6  # labels do not change with the limit
    assert [r.index for r in source.records(2)] == [2, 3]
    assert list(source.records(9)) == []
    with pytest.raises(UserError):
        list(source.fetch([4]))


def test_pictures_are_not_opened_before_they_are_asked_for(tmp_path):
    put(tmp_path, "a.png", "b.png")
    (tmp_path / "a.png").write_bytes(b"not a picture")
    source = folder(tmp_path)
    bad, good = source.records()
    (tmp_path / "b.png").unlink()
    with pytest.raises(BadImage, match="known format"):
        bad.picture()
    with pytest.raises(BadImage, match="no such file"):
        good.picture()


def test_records_can_be_pickled(tmp_path):
    put(tmp_path, "c/a.png")
    (record,) = pickle.loads(pickle.dumps(list(folder(tmp_path).records())))
    assert record.picture().size == (4, 4)


def test_fingerprint_is_of_names_and_sizes_wherever_the_folder_is(tmp_path):
    def fingerprint(name, **options):
        return folder(tmp_path / name, **options).describe()["fingerprint"]

    for name in ("one", "two"):
        put(tmp_path / name, "a.png", "b/c.png")
    first = fingerprint("one")
    assert len(first) == 64
    assert first == fingerprint("two")
    assert first != fingerprint("one", limit=1)
    os.utime(tmp_path / "two" / "a.png", (1, 1))
    assert first == fingerprint("two")
    (tmp_path / "two" / "a.png").rename(tmp_path / "two" / "d.png")
    assert first != fingerprint("two")
    with (tmp_path / "one" / "a.png").open("ab") as file:
        file.write(b"\0")
    assert first != fingerprint("one")


def test_description_names_no_place_on_this_machine(tmp_path):
    put(tmp_path / "My Photos (2024)", "a.png")
    source = folder(tmp_path / "My Photos (2024)")
    assert source.name == "my-photos-2024"
    described = source.describe()
    assert described["source"] == "folder:My Photos (2024)"
    assert set(described) == {"source", "split", "config", "revision", "fingerprint"}
    assert str(tmp_path) not in str(described)


def test_names_that_are_not_utf8(tmp_path):
    name = b"caf\xe9"
    try:
        os.mkdir(os.fsencode(tmp_path) + b"/" + name)  # noqa: PTH102 - bytes
    except OSError:
        pytest.skip("this file system only takes UTF-8")
    put(tmp_path, "plain.png")
    target = os.fsencode(tmp_path) + b"/" + name + b"/\xff.png"
    os.rename(tmp_path / "plain.png", target)  # noqa: PTH104 - bytes
    source = folder(tmp_path)
    (record,) = source.records()
    assert record.key == r"caf\xe9/\xff.png"
    assert source.classes == (r"caf\xe9",)
    record.key.encode("utf-8")
    assert record.picture().size == (4, 4)


def test_links(tmp_path):
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    put(data, "cat/a.png")
    put(elsewhere, "x.png", "deep/y.png")
    (data / "cat" / "file.png").symlink_to(elsewhere / "x.png")
    (data / "cat" / "broken.png").symlink_to(elsewhere / "gone.png")
    (data / "dog").symlink_to(elsewhere)  # a class that lives elsewhere
    (data / "cat" / "deep").symlink_to(elsewhere)  # deeper down it is not followed
    for number, target in enumerate((data, data.parent, data / "cat" / "..", "/")):
        (data / f"loop{number}").symlink_to(target)
    (elsewhere / "back").symlink_to(data)
    for name in ("self", "self.png"):
        (data / name).symlink_to(data / name)
    assert keys(folder(data)) == ["cat/a.png", "cat/file.png", "dog/deep/y.png", "dog/x.png"]


def test_pipes_are_ignored(tmp_path):
    put(tmp_path, "a.png")
    os.mkfifo(tmp_path / "b.png")
    assert keys(folder(tmp_path)) == ["a.png"]


def test_home_directory(tmp_path, monkeypatch):
    put(tmp_path, "photos/a.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert keys(folder("~/photos")) == ["a.png"]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda root: None, "does not exist: give"),
        (lambda root: root.write_bytes(b""), "is not a directory: give"),
        (lambda root: root.mkdir(), "no pictures in .* its files should end in .*jpg"),
        (lambda root: put(root, "train/a/1.png", "val/a/1.png"), "choose one, as .*/train"),
        (lambda root: put(root, ".hidden.png"), "no pictures"),
    ],
)
def test_what_the_user_can_mend_is_one_line(tmp_path, make, says):
    make(tmp_path / "x")
    with pytest.raises(UserError, match=says) as caught:
        folder(tmp_path / "x")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list everything")
def test_a_folder_without_permission_is_not_left_out_silently(tmp_path):
    put(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "b").chmod(0)
    try:
        with pytest.raises(UserError, match=r"cannot list .*denied"):
            folder(tmp_path)
    finally:
        (tmp_path / "b").chmod(0o700)


@pytest.mark.parametrize("source", ["", "photos", "folder:", "hf:", "demo:moon", "s3:x", "folder"])
def test_unknown_sources(source):
    with pytest.raises(UserError, match="folder:DIR, hf:NAME or demo:world"):
        open_source(Data(source))


def test_opening_a_folder_does_not_load_datasets(tmp_path):
    put(tmp_path, "a.png")
    code = (
        "import sys; from atlas.data import open_source; from atlas.recipe import Data; "
        "open_source(Data(sys.argv[1])); sys.exit('datasets' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, f"folder:{tmp_path}"], check=True)
