"""An atlas from elsewhere names code, models and files: none is run or read unasked."""

import json
import socket
import threading
from pathlib import Path

import pytest

CODE = """
from pathlib import Path
Path({mark!r}).write_text("run")
from atlas.demo import network


def make():
    module = network.load()
    module.preprocessing = dict(crop=network.SIZE, mean=network.MEAN, std=network.STD)
    return module
"""


def turn(atlas: Path, **tables: dict) -> None:
    """Change tables of the recipe in the manifest."""
    manifest = json.loads((atlas / "manifest.json").read_text("utf-8"))
    for name, values in tables.items():
        manifest["recipe"][name] = {**manifest["recipe"][name], **values}
    (atlas / "manifest.json").write_text(json.dumps(manifest), "utf-8")


@pytest.fixture
def picture(honest) -> Path:
    return honest.parent / "picture.png"


@pytest.fixture
def evil(place, tmp_path) -> Path:
    """A mark that the code of the atlas leaves when it is run."""
    mark = tmp_path / "mark"
    code = place.atlas / "network.py"
    code.write_text(CODE.format(mark=str(mark)))
    turn(place.atlas, model={"name": f"{code}:make"})
    return mark


WITH_NETWORK = {
    "explain": ["explain", "ATLAS", "PICTURE"],
    "lookup": ["lookup", "ATLAS", "--image", "PICTURE"],
    "score": ["score", "ATLAS", "--set", "naming.vlm=demo/vlm"],
    "name": ["name", "ATLAS", "--set", "naming.vlm=demo/vlm", "--set", "naming.contrast=3"],
    "labels": ["name", "ATLAS", "--set", "naming.method=labels"],
}


@pytest.mark.parametrize("arguments", WITH_NETWORK.values(), ids=WITH_NETWORK.keys())
def test_code_of_an_atlas_is_run_by_nothing_but_the_flag(
    place, evil, picture, atlas_command, arguments
):
    filled = [{"ATLAS": place.atlas, "PICTURE": picture}.get(one, one) for one in arguments]
    ended = atlas_command(*filled)
    assert ended.status == 2
    assert not evil.exists()
    last = ended.err.strip().splitlines()[-1]
    assert "--trust-code" in last
    assert "network.py" in last


def test_the_flag_runs_it(place, evil, picture, atlas_command):
    ended = atlas_command("lookup", place.atlas, "--image", picture, "--trust-code", "--json")
    assert ended.status == 0, ended.err
    assert evil.read_text() == "run"


def test_python_has_the_same_border(place, evil, picture):
    import atlas
    from atlas.errors import UserError

    a = atlas.open(place.atlas)
    for call in (lambda: a.explain(picture), lambda: a.search_picture(picture)):
        with pytest.raises(UserError, match="trust_code=True"):
            call()
    assert not evil.exists()
    assert atlas.open(place.atlas, trust_code=True).search_picture(picture, 3)
    assert evil.read_text() == "run"


def test_what_needs_no_network_asks_for_nothing(place, evil, atlas_command):
    for arguments in (["show", place.atlas, "planted:3"], ["cite", place.atlas]):
        assert atlas_command(*arguments).status == 0
    assert not evil.exists()


FILES = {
    "weights": ("model", "weights", "secret.safetensors"),
    "classes": ("model", "classes", "secret.txt"),
    "source": ("data", "source", "folder:{outside}/folder"),
    "hierarchy": ("data", "hierarchy", "secret.txt"),
    "words": ("naming", "words", "secret.txt"),
    "prompt": ("naming", "prompt", "secret.txt"),
    "vlm": ("naming", "vlm", "folder"),
    "clip": ("naming", "clip", "folder"),
    "fits": ("scoring", "prompt", "secret.txt"),
    "explain.vlm": ("explain", "vlm", "folder"),
    "writer": ("explain", "writer", "folder"),
    "encoder": ("patches", "encoder", "folder"),
}

BY = {
    "weights": "explain", "classes": "explain", "source": "labels", "words": "clip",
    "hierarchy": "labels", "prompt": "name", "vlm": "own vlm", "clip": "clip", "fits": "score",
    "explain.vlm": "explain", "writer": "explain", "encoder": "lookup",
}  # fmt: skip


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("what", FILES)
def test_files_outside_are_not_read(place, picture, atlas_command, monkeypatch, what, absolute):
    table, key, value = FILES[what]
    monkeypatch.chdir(place.atlas)
    base = str(place.outside) if absolute else "../outside"
    value = value.format(outside=base) if "{" in value else f"{base}/{value}"
    turn(place.atlas, **{table: {key: value}})
    commands = {
        **WITH_NETWORK,
        "own vlm": ["name", "ATLAS"],
        "clip": ["name", "ATLAS", "--set", "naming.method=clip"],
    }
    if what != "words" and BY[what] == "clip":
        commands["clip"] += ["--set", f"naming.words={picture}"]
    filled = [
        {"ATLAS": place.atlas, "PICTURE": picture}.get(one, one) for one in commands[BY[what]]
    ]
    ended = atlas_command(*filled)
    assert ended.status == 2
    last = ended.err.strip().splitlines()[-1]
    assert "outside" in last
    assert "--trust-code" in last
    place.unread(place.atlas)


def test_what_the_user_sets_is_the_users_own(place, picture, atlas_command, tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("one\ntwo\n")
    turn(place.atlas, naming={"method": "clip", "words": str(place.outside / "secret.txt")})
    ended = atlas_command(
        "name", place.atlas, "--set", f"naming.words={words}", "--set", f"naming.clip={tmp_path}"
    )
    assert ended.status == 2
    assert "cannot be loaded" in ended.err  # the words were read, the empty folder is no model


def test_a_model_with_code_of_its_own_is_not_run_and_nobody_is_asked(
    place, atlas_command, tmp_path
):
    import shutil

    from atlas.demo.vlm import FOLDER

    model, mark = tmp_path / "vlm", tmp_path / "mark"
    shutil.copytree(FOLDER, model)
    config = json.loads((model / "config.json").read_text())
    config["model_type"] = "evil"
    config["auto_map"] = {
        "AutoConfig": "evil.Config", "AutoModelForImageTextToText": "evil.Model",
    }  # fmt: skip
    (model / "config.json").write_text(json.dumps(config))
    (model / "evil.py").write_text(CODE.format(mark=str(mark)) + "\nConfig = Model = object\n")
    for key in ("naming.vlm", "explain.vlm"):
        command = ["name", place.atlas] if key == "naming.vlm" else ["explain", place.atlas]
        pictures = [] if key == "naming.vlm" else [tmp_path.parent / "picture.png"]
        if pictures:
            from PIL import Image

            Image.new("RGB", (64, 64)).save(pictures[0])
        ended = atlas_command(*command, *pictures, "--set", f"{key}={model}")
        assert ended.status == 2, ended.err
        assert not mark.exists()


@pytest.mark.parametrize("key", ["naming.vlm", "explain.vlm", "explain.writer"])
def test_no_server_that_a_recipe_names_is_spoken_to(place, picture, atlas_command, key):
    """Pictures would leave the machine: not even a connection is made, on whatever host."""
    spoken = []

    def listen() -> None:
        while True:
            try:
                connection, _ = door.accept()
            except OSError:
                return
            spoken.append(connection.recv(100))
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as door:
        threading.Thread(target=listen, daemon=True).start()
        address = f"server:http://127.0.0.1:{door.getsockname()[1]}/v1"
        table, name = key.split(".")
        turn(place.atlas, **{table: {name: address}})
        whole = key == "naming.vlm"
        for arguments in (["name"], ["score"]) if whole else (["explain"],):
            command = [*arguments, place.atlas, *([] if whole else [picture])]
            ended = atlas_command(*command)
            assert ended.status == 2
            last = ended.err.strip().splitlines()[-1]
            assert "sends pictures to a server" in last and "--trust-code" in last
            assert f"--set {key}=" in last
            assert not spoken
            for own in (["--trust-code"], ["--set", f"{key}={address}"]):
                assert "no server answers" in atlas_command(*command, *own).err
                assert spoken
                spoken.clear()
