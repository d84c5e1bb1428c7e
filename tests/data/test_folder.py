"""`folder:DIR`: which files, in which order, with which labels."""

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from atlas.data import open_source, sampling
from atlas.data.images import HEIF, BadImage
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
    put(tmp_path, ".cache/more/x.png")
    (tmp_path / ".git").mkdir()
    source = folder(tmp_path)
    assert source.classes == ("shark", "tench")
    assert source.remarks == (
        "the folder 'empty' has no pictures: it is no class",
        "the folder '.cache' has pictures, but a hidden name: it is no class",
    )
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


def test_fingerprint_is_of_names_sizes_and_content_wherever_the_folder_is(tmp_path):
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


def test_other_pictures_of_the_same_names_and_sizes_are_other_data(tmp_path):
    one, two = tmp_path / "a/1.bmp", tmp_path / "b/2.bmp"
    for path, colour in ((one, "red"), (two, "blue")):
        path.parent.mkdir()
        Image.new("RGB", (4, 4), colour).save(path)
    before = folder(tmp_path).fingerprint
    dates = [path.stat().st_mtime for path in (one, two)]
    one_bytes, two_bytes = one.read_bytes(), two.read_bytes()
    assert len(one_bytes) == len(two_bytes)
    one.write_bytes(two_bytes)
    two.write_bytes(one_bytes)
    for path, date in zip((one, two), dates, strict=True):
        os.utime(path, (date, date))
    assert folder(tmp_path).fingerprint != before
    one.write_bytes(one_bytes)
    two.write_bytes(two_bytes)
    assert folder(tmp_path).fingerprint == before


def test_the_sample_of_bytes_is_small_and_spread(tmp_path, monkeypatch):
    paths = [tmp_path / f"{number:04}" for number in range(300)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number % 251]) * 100)
    first = sampling.digest(paths)
    assert first == sampling.digest(paths)
    noticed = []
    for number in (0, 4, 299):
        kept = paths[number].read_bytes()
        paths[number].write_bytes(b"x" * 100)
        noticed.append(sampling.digest(paths) != first)
        paths[number].write_bytes(kept)
    assert noticed[::2] == [True, True]  # the ends are always in it
    monkeypatch.setattr(sampling, "PIECE", 10)
    large = tmp_path / "large"
    large.write_bytes(b"a" * 100_000)
    before = sampling.digest([large])
    changed = bytearray(large.read_bytes())
    changed[50_000:51_000] = b"b" * 1000
    large.write_bytes(changed)
    assert sampling.digest([large]) != before  # one large file is looked at in many places
    paths[3].unlink()
    assert sampling.digest(paths[:5]) != sampling.digest([*paths[:3], paths[4]])


def test_a_picture_that_cannot_be_read_does_not_stop_the_listing(tmp_path):
    put(tmp_path, "a.png", "b.png")
    fine = folder(tmp_path).fingerprint
    real = Path.open

    def refuse(path, *args, **kwargs):
        if path.name == "b.png":
            raise PermissionError(13, "denied")
        return real(path, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        assert folder(tmp_path).fingerprint != fine


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
    with pytest.raises(UserError, match=r"2 pictures .* would be left out: 2 broken links; .* 33%"):
        folder(data)
    source = folder(data, most_skipped=0.4)
    assert keys(source) == ["cat/a.png", "cat/file.png", "dog/deep/y.png", "dog/x.png"]
    assert source.left_out.every == {"broken links": 3, "links to folders": 6}


def test_what_is_left_out_is_counted_by_reason(tmp_path):
    put(tmp_path, *(f"cat/{number}.png" for number in range(40)), ".b.png", "__MACOSX/cat/x.png")
    put(tmp_path, "cat/photo", "cat/1.jpg_large")  # pictures under names that do not say so
    (tmp_path / "cat" / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    for name in ("README", "list.csv", "more.csv", "odd.xyz"):
        (tmp_path / name).write_text("no picture")
    source = folder(tmp_path)
    heic = {} if HEIF else {".heic": 1}
    assert source.left_out.pictures == {"without an ending": 1, ".jpg_large": 1, **heic}
    assert source.left_out.files == {"hidden": 2, "without an ending": 1, ".csv": 2, ".xyz": 1}
    assert source.left_out.taken == source.count == 40 + HEIF
    assert source.left_out.every["without an ending"] == 2


def test_too_many_left_out_is_refused_and_says_what_to_do(tmp_path):
    put(tmp_path, *(f"{number}.png" for number in range(8)), "8", "9")
    with pytest.raises(UserError, match=r"10 %|20%") as caught:
        folder(tmp_path)
    assert "2 pictures beside the 8 that are read would be left out: 2 without an ending" in str(
        caught.value
    )
    assert folder(tmp_path, most_skipped=0.2).count == 8
    assert folder(tmp_path, limit=1, most_skipped=0.2).count == 1  # the share is of all
    with pytest.raises(UserError):
        folder(tmp_path, limit=1, most_skipped=0.19)


def test_heic_without_the_extra_says_which_it_is(tmp_path):
    put(tmp_path, "a.png")
    (tmp_path / "b.heic").write_bytes(b"\0\0\0\x18ftypheic")
    code = (
        "import sys; sys.modules['pillow_heif'] = None\n"
        "from atlas.data import open_source; from atlas.recipe import Data\n"
        "open_source(Data(sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, f"folder:{tmp_path}"]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    assert "1 .heic (HEIC is read with `pip install 'concept-atlas[heif]'`)" in said


def test_a_wrapper_is_taken_off_and_reported(tmp_path):
    put(tmp_path, "photos/pets/cat/a.png", "photos/pets/dog/b.png", "__MACOSX/photos/x.png")
    (tmp_path / "README.md").write_text("pets")
    source = folder(tmp_path)
    assert (source.classes, keys(source)) == (("cat", "dog"), ["cat/a.png", "dog/b.png"])
    assert source.remarks == (
        f"{str(tmp_path)!r} holds the folder 'photos/pets' and nothing else: it is taken",
    )
    assert source.name == "pets"


@pytest.mark.parametrize(
    ("paths", "classes"),
    [
        (["cat/a.png", "cat/b.png"], ("cat",)),
        (["cat/more/a.png"], ("cat",)),
        (["cat/a.png", "cat/x/b.png", "cat/y/c.png"], ("cat",)),
        (["cat/x/b.png", "cat/y/c.png", "d.png"], ("cat",)),
    ],
)
def test_one_class_is_no_wrapper(tmp_path, paths, classes):
    put(tmp_path, *paths)
    assert (folder(tmp_path).classes, folder(tmp_path).remarks) == (classes, ())


def test_paths_with_brackets(tmp_path):
    put(tmp_path / "a[1]*", "cat[x]/[a].png")
    assert keys(folder(tmp_path / "a[1]*")) == ["cat[x]/[a].png"]


@pytest.mark.parametrize("name", ["photos.zip", "photos.tar.gz"])
def test_an_archive_is_to_be_unpacked(tmp_path, name):
    shutil.make_archive(tmp_path / "photos", "zip" if name.endswith("zip") else "gztar", tmp_path)
    with pytest.raises(UserError, match="is an archive, which is not read: unpack it"):
        folder(tmp_path / name)
    with pytest.raises(
        UserError, match=r"no pictures .*and there are 1 .(zip|gz); unpack archives"
    ):
        folder(tmp_path)


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
        (lambda root: put(root, "Train/a/1.png", "test_images/1.png", "x/1.png"), "as .*/Train"),
        (lambda root: put(root, "val2017/1.png", "train2017/1.png", "logo.png"), "as .*/train2017"),
        (lambda root: put(root, "w/train/a/1.png", "w/val/a/1.png"), "choose one, as .*/w/train"),
        (lambda root: put(root, "a.png.txt"), "and there are 1 .txt"),
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
