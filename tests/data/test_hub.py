"""`hf:NAME` with real Parquet files, tar shards and saved data sets."""

import io
import os
import pickle
import socket
import subprocess
import sys
import tarfile
import time
import zipfile

import datasets
import huggingface_hub.errors as hub_errors
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets.load import httpx  # whichever HTTP library it uses
from PIL import Image

from atlas.data import open_source
from atlas.data.access import unavailable
from atlas.data.images import BadImage
from atlas.errors import UserError
from atlas.recipe import Data

NAMES = ["cat", "dog", "eel"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("a local data set asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def jpeg(number):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (number * 20, 0, 0)).save(buffer, "JPEG", quality=100)
    return buffer.getvalue()


def table(count=7, labels=None):
    pictures = [{"bytes": jpeg(number), "path": f"{number}.jpg"} for number in range(count)]
    kinds = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=NAMES))
    labels = labels or [number % 3 for number in range(count)]
    return datasets.Dataset.from_dict({"image": pictures, "label": labels}, features=kinds)


def parquet(folder, data=None, parts=2, split="train"):
    folder.mkdir(exist_ok=True)
    data = table() if data is None else data
    for part in range(parts):
        shard = data.shard(parts, part, contiguous=True)
        shard.to_parquet(folder / f"{split}-{part:05d}-of-{parts:05d}.parquet")
    return folder


def shards(folder, parts=2, each=3, **members):
    folder.mkdir()
    members = members or {"jpg": jpeg, "cls": lambda number: str(number % 3).encode()}
    for part in range(parts):
        with tarfile.open(folder / f"shard-{part}.tar", "w") as tar:
            for sample in range(each):
                for ending, content in members.items():
                    info = tarfile.TarInfo(f"{sample:04d}.{ending}")
                    data = content(part * each + sample)
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return folder


def hub(folder, **options):
    return open_source(Data(f"hf:{folder}", **options))


def reds(records):
    return [round(r.picture().getpixel((0, 0))[0] / 20) for r in records]


@pytest.mark.parametrize("streaming", [True, False])
def test_parquet(tmp_path, streaming):
    source = hub(parquet(tmp_path / "pets"), streaming=streaming)
    assert (source.name, source.classes, source.count) == ("pets-train", tuple(NAMES), 7)
    records = list(source.records())
    assert [(r.index, r.key, r.label) for r in records] == [
        (n, f"train/{n:07d}", n % 3) for n in range(7)
    ]
    assert reds(pickle.loads(pickle.dumps(records))) == list(range(7))
    assert [r.index for r in source.records(5)] == [5, 6]
    assert reds(source.records(5)) == [5, 6]


@pytest.mark.parametrize("streaming", [True, False])
def test_webdataset(tmp_path, streaming):
    source = hub(shards(tmp_path / "wds"), streaming=streaming)
    assert source.classes is None  # the shards have numbers only
    records = list(source.records())
    assert [r.label for r in records] == [0, 1, 2, 0, 1, 2]
    assert [r.key for r in records][2:5] == [
        "train/0000002/0002",
        "train/0000003/0000",  # the second shard begins again
        "train/0000004/0001",
    ]
    assert reds(records) == list(range(6))


@pytest.mark.parametrize("splits", [False, True])
def test_saved_to_disk(tmp_path, splits):
    data = datasets.DatasetDict({"train": table(), "test": table(2)}) if splits else table()
    data.save_to_disk(tmp_path / "saved")
    source = hub(tmp_path / "saved")
    assert source.count == 7
    assert source.classes == tuple(NAMES)
    assert reds(source.fetch([6, 2])) == [2, 6]
    if splits:
        assert hub(tmp_path / "saved", split="test").count == 2
        with pytest.raises(UserError, match="which has train, test"):
            hub(tmp_path / "saved", split="val")


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("make", [parquet, shards])
def test_fetch_limit_and_start(tmp_path, make, streaming):
    source = hub(make(tmp_path / "data"), streaming=streaming, limit=5)
    assert source.count in (5, None)
    assert len(list(source.records())) == 5
    assert [r.index for r in source.records(3)] == [3, 4]
    assert list(source.records(5)) == []
    assert list(source.records(50)) == []
    everything = {r.index: (r.key, r.label) for r in source.records()}
    for chosen in ([4, 1, 1], [0], [], [2, 3]):
        found = list(source.fetch(chosen))
        assert [r.index for r in found] == sorted(set(chosen))
        assert all((r.key, r.label) == everything[r.index] for r in found)
        assert reds(found) == sorted(set(chosen))
    for wrong in ([5], [-1], [1, 99]):
        with pytest.raises(UserError, match="not in the data"):
            list(source.fetch(wrong))


def test_what_a_stream_has_no_more_of_is_missed(tmp_path):
    source = hub(shards(tmp_path / "wds"))
    assert source.count is None
    with pytest.raises(UserError, match="sample 6 is not in the data"):
        list(source.fetch([1, 6]))


def test_labels_that_are_absent(tmp_path):
    source = hub(parquet(tmp_path / "d", table(3, labels=[-1, None, 2])))
    assert [r.label for r in source.records()] == [None, None, 2]


@pytest.mark.parametrize("streaming", [True, False])
def test_bad_pictures_are_bad_only_when_they_are_read(tmp_path, streaming):
    cells = [{"bytes": b"x", "path": None}, None, {"bytes": None, "path": "gone.jpg"}]
    cells.append({"bytes": jpeg(1), "path": None})
    kinds = datasets.Features(image=datasets.Image())
    data = datasets.Dataset.from_dict({"image": cells}, features=kinds)
    (tmp_path / "d").mkdir()
    pq.write_table(data.data.table, tmp_path / "d" / "train.parquet")
    source = hub(tmp_path / "d", streaming=streaming)
    *bad, good = source.records()
    for record, reason in zip(bad, ["known format", "no picture", "no such file"], strict=True):
        assert record.label is None
        with pytest.raises(BadImage, match=reason):
            record.picture()
    assert good.picture().size == (8, 8)


@pytest.mark.parametrize("as_struct", [True, False])
def test_parquet_that_datasets_did_not_write(tmp_path, as_struct):
    contents = [jpeg(number) for number in range(4)]
    cells = [{"bytes": c, "path": None} for c in contents] if as_struct else contents
    data = pa.table({"id": [9, 8, 7, 6], "photo": cells, "kind": [1, 0, 1, 0]})
    (tmp_path / "d").mkdir()
    pq.write_table(data, tmp_path / "d" / "data.parquet")
    records = list(hub(tmp_path / "d").records())
    assert reds(records) == [0, 1, 2, 3]
    assert [r.label for r in records] == [1, 0, 1, 0]  # and not the ids


def test_labels_that_are_texts(tmp_path):
    data = table(4).cast_column("label", datasets.Value("string"))
    data = data.remove_columns("label").add_column("label", ["eel", "cat", None, "eel"])
    folder = parquet(tmp_path / "d", data)
    for streaming in (False, True):  # of local Parquet files the column is read alone
        source = hub(folder, streaming=streaming, limit=3)
        assert (source.classes, source.label_numbers) == (("cat", "eel"), ())
        assert [r.label for r in source.records()] == [1, 0, None]
    members = {"jpg": jpeg, "txt": lambda number: NAMES[number % 3].encode()}
    tars = shards(tmp_path / "wds", **members)
    assert hub(tars, streaming=False, label_column="txt").classes == tuple(NAMES)
    with pytest.raises(UserError, match=r"--set data.streaming=false"):
        hub(tars, label_column="txt")


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize(
    ("column", "labels", "numbers"),
    [
        ([3, 0, -1, None, 7], [3, 0, None, None, 7], (0, 3, 7)),
        ([3.0, 0.0, float("nan"), None, -1.0], [3, 0, None, None, None], (0, 3)),
        ([True, False, None, True, True], [1, 0, None, 1, 1], (0, 1)),
        ([None] * 5, [None] * 5, ()),
    ],
)
def test_labels_that_are_bare_numbers(tmp_path, column, labels, numbers, streaming):
    kind = pa.array(column).type if any(column) else pa.int64()
    cells = [{"bytes": jpeg(number), "path": None} for number in range(5)]
    data = pa.table({"photo": cells, "label": pa.array(column, kind), "age": [41, 2, 3, 4, 5]})
    (tmp_path / "d").mkdir()
    pq.write_table(data, tmp_path / "d" / "data.parquet")
    source = hub(tmp_path / "d", streaming=streaming, limit=5)
    assert (source.label, source.classes, source.label_numbers) == ("label", None, numbers)
    assert [r.label for r in source.records()] == labels


def test_other_pictures_in_files_of_the_same_names_and_sizes(tmp_path):
    folder = shards(tmp_path / "wds")
    before = hub(folder).describe()["fingerprint"]
    (file,) = folder.glob("shard-1.tar")
    content = file.read_bytes()
    at = content.index(jpeg(4))
    changed = content[:at] + jpeg(5).ljust(len(jpeg(4)), b"\0") + content[at + len(jpeg(4)) :]
    assert len(changed) == len(content)
    assert changed != content
    file.write_bytes(changed)
    assert hub(folder).describe()["fingerprint"] != before
    file.write_bytes(content)
    os.utime(file, (1, 1))
    assert hub(folder).describe()["fingerprint"] == before


def test_numbers_that_are_no_labels(tmp_path):
    data = table(3).remove_columns("label").add_column("target", [0.0, 0.5, float("inf")])
    folder = parquet(tmp_path / "d", data)
    for streaming in (True, False):
        with pytest.raises(UserError, match=r"'target' has (0.5|inf), which is no label"):
            hub(folder, streaming=streaming)
    data = data.rename_column("target", "beauty")  # no usual name: it is not taken
    source = hub(parquet(tmp_path / "e", data))
    assert (source.label, source.label_numbers) == (None, ())


def test_which_numbers_a_stream_of_shards_has_nobody_knows(tmp_path):
    folder = shards(tmp_path / "wds")
    assert hub(folder).label_numbers is None
    assert hub(folder, streaming=False).label_numbers == (0, 1, 2)


def test_a_usual_name_comes_before_the_only_integers(tmp_path):
    data = table(3).remove_columns("label").add_column("label", ["b", "a", "b"])
    data = data.add_column("price", [1, 2, 3])
    source = hub(parquet(tmp_path / "d", data))
    assert (source.label, source.classes) == ("label", ("a", "b"))


def test_columns_by_recipe(tmp_path):
    data = table(3).rename_columns({"image": "photo", "label": "fine"})
    data = data.add_column("coarse", [5, 6, 7]).add_column("note", ["x", "y", "z"])
    masks = [{"bytes": jpeg(number), "path": None} for number in range(3)]
    data = data.add_column("mask", masks, feature=datasets.Image())
    folder = parquet(tmp_path / "d", data)
    with pytest.raises(UserError, match=r"several columns hold pictures \(photo, mask\)"):
        hub(folder)
    source = hub(folder, image_column="photo")
    assert source.classes == tuple(NAMES)
    source = hub(folder, image_column="photo", label_column="coarse")
    assert source.classes is None
    assert [r.label for r in source.records()] == [5, 6, 7]
    for options, says in (
        ({"image_column": "x"}, "the data has photo, fine, coarse, note, mask"),
        ({"image_column": "photo", "label_column": "y"}, "no such column"),
        ({"image_column": "photo", "label_column": "mask"}, "and not classes, numbers or texts"),
        ({"image_column": "note"}, "data.image_column = 'note': it holds"),
    ):
        with pytest.raises(UserError, match=says):
            hub(folder, **options)


def test_several_columns_of_classes(tmp_path):
    data = table(3).rename_column("label", "fine")
    data = data.add_column("coarse", [0, 1, 2], feature=datasets.ClassLabel(names=NAMES))
    with pytest.raises(UserError, match=r"several columns hold classes \(fine, coarse\)"):
        hub(parquet(tmp_path / "d", data))


def test_no_pictures_at_all(tmp_path):
    folder = parquet(tmp_path / "d", datasets.Dataset.from_dict({"a": [1], "b": ["x"]}), parts=1)
    with pytest.raises(UserError, match="no column has them; name one of a, b"):
        hub(folder)


def test_description(tmp_path, monkeypatch):
    first = hub(parquet(tmp_path / "pets")).describe()
    assert first["source"] == "hf:pets"
    assert first["split"] == "train"
    assert set(first) == {"source", "split", "config", "revision", "fingerprint"}
    assert str(tmp_path) not in str(first)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "pets").rename(tmp_path / "elsewhere" / "pets")
    again = hub(tmp_path / "elsewhere" / "pets", streaming=False)
    assert again.describe() == first
    monkeypatch.chdir(tmp_path / "elsewhere" / "pets")
    for here in (".", "../pets/"):
        assert (hub(here).describe(), hub(here).name) == (first, "pets-train")
    parquet(tmp_path / "elsewhere" / "pets", table(6))
    assert hub(tmp_path / "elsewhere" / "pets").describe() != first


@pytest.mark.parametrize("streaming", [True, False])
def test_mistakes_are_one_line(tmp_path, streaming):
    folder = parquet(tmp_path / "d")
    (tmp_path / "empty").mkdir()
    (tmp_path / "script").mkdir()
    (tmp_path / "script" / "script.py").write_text("print('never run')")
    for options, says in (
        ({"source": f"hf:{folder}", "split": "val"}, r"train.*; choose .* data.split=NAME"),
        ({"source": f"hf:{folder}", "config": "x"}, r"default.*; choose .* data.config=NAME"),
        ({"source": f"hf:{tmp_path}/nothing"}, "find any data file"),
        ({"source": f"hf:{tmp_path}/empty"}, "empty"),
        ({"source": f"hf:{tmp_path}/script"}, "scripts are no longer supported"),
        ({"source": f"hf:{folder}/train-00000-of-00002.parquet"}, "give the directory"),
    ):
        with pytest.raises(UserError, match=says) as caught:
            open_source(Data(streaming=streaming, **options))
        assert "\n" not in str(caught.value)


def cut(folder, length):
    (file,) = folder.iterdir()
    file.write_bytes(file.read_bytes()[:length])


def test_a_parquet_file_damaged_half_way_is_one_line(tmp_path):
    source = hub(parquet(tmp_path / "d", parts=1))
    cut(tmp_path / "d", 2000)
    with pytest.raises(UserError, match="cannot read hf:") as caught:
        list(source.records())
    assert "\n" not in str(caught.value)


def test_a_shard_damaged_half_way_is_one_line(tmp_path):
    source = hub(shards(tmp_path / "d", parts=1))
    block = 512
    sample = 4 * block + len(jpeg(0)) // block * block  # header and content of both members
    cut(tmp_path / "d", sample + block + 100)  # amid the second picture
    records = source.records()
    assert reds([next(records)]) == [0]
    with pytest.raises(UserError, match=r"cannot read hf:.*unexpected end of data"):
        next(records)


def test_pictures_that_a_stream_points_to_on_the_hub(tmp_path, monkeypatch):
    address = "hf://datasets/o/d@main/train/1.jpg"
    kinds = datasets.Features(image=datasets.Image())
    data = datasets.Dataset.from_dict({"image": [{"bytes": None, "path": address}]}, kinds)
    (tmp_path / "d").mkdir()
    pq.write_table(data.data.table, tmp_path / "d" / "train.parquet")
    (record,) = hub(tmp_path / "d").records()

    def answer(with_what):
        def opened(path, mode):
            assert (path, mode) == (address, "rb")
            if isinstance(with_what, Exception):
                raise with_what
            return io.BytesIO(with_what)

        monkeypatch.setattr(datasets.utils.file_utils, "xopen", opened)

    answer(jpeg(3))
    assert reds([record]) == [3]
    answer(FileNotFoundError(address))
    with pytest.raises(BadImage, match="no such file"):
        record.picture()
    answer(httpx.ConnectError("gone"))  # which must not pass for a bad picture
    with pytest.raises(UserError, match="cannot reach the Hub for the data set 'o/d'"):
        record.picture()


GATED = ("gated: accept its terms at https://huggingface.co/datasets/o/d", "hf auth login")
INSTEAD = "--set data.source=folder:DIR"


def response(status):
    return httpx.Response(status, request=httpx.Request("GET", "https://huggingface.co/x"))


def wrapped(outer, inner):
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (hub_errors.GatedRepoError("403\n\nno", response=response(403)), [*GATED, INSTEAD]),
        (
            wrapped(
                datasets.exceptions.DatasetNotFoundError("Dataset 'o/d' is a gated dataset"),
                hub_errors.GatedRepoError("401", response=response(401)),
            ),
            [*GATED, INSTEAD],
        ),
        (
            datasets.exceptions.DatasetNotFoundError("'o/d' is a gated dataset on the Hub."),
            [*GATED, INSTEAD],
        ),
        (hub_errors.LocalTokenNotFoundError("no token"), [*GATED, INSTEAD]),
        (
            hub_errors.RepositoryNotFoundError("401", response=response(401)),
            ["there is no data set 'o/d'", "hf auth login", INSTEAD],
        ),
        (
            datasets.exceptions.DatasetNotFoundError("'o/d' doesn't exist on the Hub"),
            ["there is no data set 'o/d'", INSTEAD],
        ),
        (
            hub_errors.RevisionNotFoundError("404", response=response(404)),
            ["no such revision", "https://huggingface.co/datasets/o/d"],
        ),
        (
            datasets.exceptions.DatasetNotFoundError("Revision 'v' doesn't exist for dataset"),
            ["no such revision"],
        ),
        (hub_errors.OfflineModeIsEnabled("offline"), ["cannot reach the Hub", INSTEAD]),
        (
            wrapped(OSError("x"), httpx.ConnectError("no route")),
            ["cannot reach the Hub", "hf auth login", INSTEAD],
        ),
        (httpx.ReadTimeout("slow"), ["cannot reach the Hub"]),
        (ConnectionError("Couldn't reach 'o/d' on the Hub"), ["cannot reach the Hub"]),
        (
            RuntimeError("Dataset scripts are no longer supported, but found d.py"),
            ["Python script, which is not run", "data.revision=refs/convert/parquet"],
        ),
        (ValueError("something\nelse"), ["cannot read hf:o/d: something else"]),
    ],
)
def test_every_refusal_says_what_to_do(monkeypatch, error, says):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(datasets, "load_dataset_builder", refuse)
    monkeypatch.setattr("atlas.data.access._answers", lambda: True)
    with pytest.raises(UserError) as caught:
        open_source(Data("hf:o/d"))
    message = str(caught.value)
    assert all(part in message for part in says), message
    assert "\n" not in message
    assert caught.value.__cause__ is error
    assert str(unavailable("o/d", error)) == message


@pytest.mark.parametrize("offline", [True, False])
def test_without_a_network_the_user_is_reported_at_once(tmp_path, offline):
    # A proxy that refuses every connection is as good as no network, on every machine.
    environment = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
    environment |= {"HF_HOME": str(tmp_path), "HTTPS_PROXY": "http://127.0.0.1:9"}
    environment |= {"HF_HUB_OFFLINE": "1" if offline else "0"}
    code = (
        "from atlas.data import open_source; from atlas.errors import UserError\n"
        "from atlas.recipe import Data\n"
        "try: open_source(Data('hf:ILSVRC/imagenet-1k', split='validation'))\n"
        "except UserError as error: print(error)"
    )
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert time.monotonic() - start < 15
    assert done.stderr == ""
    (line,) = done.stdout.splitlines()
    assert "https://huggingface.co/datasets/ILSVRC/imagenet-1k and run `hf auth login`" in line
    assert INSTEAD in line
    assert ("HF_HUB_OFFLINE" in line) == offline


# Data as people have it


def tar(path, *members):
    with tarfile.open(path, "w") as file:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))


def png(number):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (number * 20, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("together", [True, False])
def test_pictures_of_several_kinds_are_all_read(tmp_path, streaming, together):
    (tmp_path / "d").mkdir()
    for part, (ending, make) in enumerate({"jpg": jpeg, "png": png, "JPEG": jpeg}.items()):
        members = []
        for n in range(2):
            members += [(f"{n}.{ending}", make(2 * part + n)), (f"{n}.cls", b"%d" % part)]
        if together and part:
            members = [("9.jpg", jpeg(9)), ("9.cls", b"0"), *members]
        tar(tmp_path / "d" / f"s-{part}.tar", *members)
    source = hub(tmp_path / "d", streaming=streaming)
    records = list(source.records())
    whole = [0, 1, 9, 2, 3, 9, 4, 5] if together else list(range(6))
    assert reds(records) == whole
    assert [r.label for r in records] == [0 if n == 9 else n // 2 for n in whole]


def test_two_pictures_of_a_sample_are_to_be_chosen_from(tmp_path):
    (tmp_path / "d").mkdir()
    tar(tmp_path / "d" / "s.tar", ("0.jpg", jpeg(3)), ("0.png", png(4)), ("1.jpg", jpeg(5)))
    with pytest.raises(UserError, match=r"several columns hold pictures \(jpg, png\)"):
        hub(tmp_path / "d")
    one, other = hub(tmp_path / "d", image_column="png").records()
    assert reds([one]) == [4]
    with pytest.raises(BadImage, match="no picture in this row"):
        other.picture()


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("empty", [0, 1, 6])
def test_samples_without_a_label(tmp_path, streaming, empty):
    (tmp_path / "d").mkdir()
    for part in range(2):
        members = []
        for n in range(4):
            number = 4 * part + n
            members += [(f"{n}.jpg", jpeg(number))]
            members += [(f"{n}.cls", b"" if number == empty else b"2")] if number != 5 else []
        tar(tmp_path / "d" / f"s-{part}.tar", *members)
    records = list(hub(tmp_path / "d", streaming=streaming).records())
    assert [r.label for r in records] == [None if n in (empty, 5) else 2 for n in range(8)]
    assert reds(records) == list(range(8))


@pytest.mark.parametrize("streaming", [True, False])
def test_labels_in_shards_that_are_no_numbers_say_why(tmp_path, streaming):
    (tmp_path / "d").mkdir()
    tar(tmp_path / "d" / "s.tar", *((f"{n}.{e}", d) for n in range(9)
        for e, d in (("jpg", jpeg(n)), ("cls", b"dog" if n == 8 else b"1"))))  # fmt: skip
    with pytest.raises(UserError, match=r"cannot read hf:.*invalid literal.*dog"):
        list(hub(tmp_path / "d", streaming=streaming).records())


@pytest.mark.parametrize("streaming", [True, False])
def test_several_labels_of_a_picture_are_reported(tmp_path, streaming):
    data = table(3).remove_columns("label").add_column("labels", [[0, 2], [], [1]])
    folder = parquet(tmp_path / "d", data, parts=1)
    source = hub(folder, streaming=streaming)
    assert source.label is None
    (remark,) = source.remarks
    assert remark.startswith("column 'labels' holds several labels for each picture")
    with pytest.raises(UserError, match=r"several labels .*--set relevance.target=predicted"):
        hub(folder, label_column="labels")
    assert hub(parquet(tmp_path / "e")).remarks == ()


@pytest.mark.parametrize("streaming", [True, False])
def test_an_archive_of_class_folders_is_to_be_unpacked(tmp_path, streaming):
    (tmp_path / "d").mkdir()
    with zipfile.ZipFile(tmp_path / "d" / "photos.zip", "w") as file:
        for name in ("cat/0.jpg", "dog/0.jpg"):
            file.writestr(name, jpeg(1))
    with pytest.raises(
        UserError, match=r"'photos.zip' of hf:.* archive of class folders, .*unpack"
    ):
        hub(tmp_path / "d", streaming=streaming)
    with pytest.raises(UserError, match="is an archive: unpack it"):
        hub(tmp_path / "d" / "photos.zip")


def test_a_bracket_in_a_path_is_reported(tmp_path):
    parquet(tmp_path / "d[1]")
    with pytest.raises(UserError, match=r"has '\[' in it, which `datasets` takes for a pattern"):
        hub(tmp_path / "d[1]")


def test_the_innermost_cause_is_reported():
    inner = ValueError("Couldn't cast string to int64")
    error = wrapped(RuntimeError("An error occurred while generating the dataset"), inner)
    message = str(unavailable("o/d", error))
    assert "generating the dataset (Couldn't cast string to int64)" in message
    assert len(str(unavailable("o/d", ValueError("x" * 10_000)))) < 1200
