"""A site goes to a repository, a Space, a folder or an archive: its files and no others."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from PIL import Image

import atlas
from atlas.publishing import to_git, to_space
from atlas.publishing.publish import publish
from atlas.store import Store

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def files(root: Path) -> dict[str, bytes]:
    """The content of every file below a folder, but for git's own."""
    found = (path for path in root.rglob("*") if path.is_file())
    paths = {path.relative_to(root).as_posix(): path for path in found}
    return {n: path.read_bytes() for n, path in paths.items() if not n.startswith(".git/")}


def git(*arguments: object, cwd: Path | None = None) -> str:
    command = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@localhost"]
    done = subprocess.run(
        [*command, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def copy(built, tmp_path) -> Path:
    """An atlas with its site, to be changed."""
    return shutil.copytree(built, tmp_path / "atlas")


@pytest.fixture
def remote(tmp_path) -> Path:
    path = tmp_path / "remote.git"
    git("init", "--quiet", "--bare", path)
    git("-C", path, "config", "uploadpack.allowFilter", "true")
    return path


def set_recipe(path: Path, table: str, **values: object) -> None:
    store = Store(path)
    manifest = store.manifest()
    recipe = manifest["recipe"]
    recipe[table] = {**(recipe.get(table) or {}), **values}
    store.write_manifest(manifest)


def to(path: Path, target: str) -> list[str]:
    """Publish, and return what is said: lines to know, and at last the place."""
    lines: list[str] = []
    place = publish(atlas.open(path), target, lines.append)
    return [*lines, place]


def test_a_branch_has_the_site_and_no_history(copy, remote):
    # Neither names that git would ignore nor filters of the site change what is published.
    for name, content in {".gitignore": "*\n", ".gitattributes": "* text eol=crlf\n"}.items():
        (copy / "site" / name).write_text(content)
    (copy / "site" / 'odd "name" \\ ü.txt').write_text("x")
    to(copy, f"git:{remote}")
    listed = git("-C", remote, "ls-tree", "-rz", "--name-only", "gh-pages")
    assert set(listed.rstrip("\0").split("\0")) == set(files(copy / "site"))
    assert ".nojekyll" in listed and ".zenodo.json" in listed
    blob = subprocess.run(
        ["git", "-C", remote, "cat-file", "blob", "gh-pages:index.html"], capture_output=True
    )
    assert blob.stdout == (copy / "site" / "index.html").read_bytes()
    first = git("-C", remote, "rev-parse", "gh-pages")

    assert "nothing has changed" in to(copy, f"git:{remote}")[-1]
    assert git("-C", remote, "rev-parse", "gh-pages") == first

    before = objects(remote)
    (copy / "site" / "index.html").write_text("new")
    (copy / "site" / "about.html").unlink()
    to(copy, f"git:{remote}")
    assert git("-C", remote, "rev-list", "--count", "gh-pages") == "1"
    assert git("-C", remote, "show", "gh-pages:index.html") == "new"
    assert "about.html" not in git("-C", remote, "ls-tree", "--name-only", "gh-pages").split("\n")
    # Of the second site only what is new was sent: a page, a tree and a commit.
    counts = git("-C", remote, "count-objects", "-v")
    loose, packed = (
        int(re.search(rf"^{key}: (\d+)", counts, re.M)[1]) for key in ("count", "in-pack")
    )
    assert loose + packed - before <= 3


def objects(repository: Path) -> int:
    """How many objects lie in a repository."""
    counts = git("-C", repository, "count-objects", "-v")
    return sum(map(int, re.findall(r"^(?:count|in-pack): (\d+)", counts, re.MULTILINE)))


def test_sites_of_older_versions_stay(copy, remote):
    set_recipe(copy, "cite", older=["0123abcd"])
    (copy / "site" / "0123abcd").mkdir()
    (copy / "site" / "0123abcd" / "index.html").write_text("old")
    to(copy, f"git:{remote}#pages")
    shutil.rmtree(copy / "site" / "0123abcd")
    (copy / "site" / "index.html").write_text("new")
    to(copy, f"git:{remote}#pages")
    assert git("-C", remote, "show", "pages:0123abcd/index.html") == "old"
    assert git("-C", remote, "show", "pages:index.html") == "new"


@pytest.mark.parametrize("ours_before", [False, True])
def test_a_branch_of_others_is_left_alone(copy, remote, tmp_path, ours_before):
    work = tmp_path / "work"
    if ours_before:
        to(copy, f"git:{remote}")
        git("clone", "--quiet", "--branch", "gh-pages", remote, work)
    else:
        git("init", "--quiet", "--initial-branch", "gh-pages", work)
    (work / "thesis.txt").write_text("years of work")
    git("add", "thesis.txt", cwd=work)
    git("commit", "--quiet", "--message", "Thesis\n\nConcept-Atlas:", cwd=work)
    git("push", "--quiet", remote, "gh-pages", cwd=work)
    (copy / "site" / "index.html").write_text("new")
    with pytest.raises(atlas.UserError, match="not published from an atlas: name another branch"):
        to(copy, f"git:{remote}")
    assert git("-C", remote, "show", "gh-pages:thesis.txt") == "years of work"


def test_a_push_that_comes_between_is_not_lost(copy, remote, tmp_path):
    """The branch moves after it was looked at: the hook of the remote's fetch moves it."""
    to(copy, f"git:{remote}")
    other = git("-C", remote, "commit-tree", "-m", "other", "gh-pages^{tree}")
    pack = tmp_path / "upload-pack"
    pack.write_text(
        "#!/bin/sh\ngit-upload-pack \"$@\"\n"
        f"[ -e {tmp_path}/seen ] && git -C {remote} update-ref refs/heads/gh-pages {other}\n"
        f"touch {tmp_path}/seen\n"
    )  # fmt: skip
    pack.chmod(0o755)
    (copy / "site" / "index.html").write_text("new")
    config = tmp_path / "config"
    config.write_text(f'[remote "origin"]\n\tuploadpack = {pack}\n')
    result = command(copy, f"git:{remote}", GIT_CONFIG_GLOBAL=str(config))
    assert result.returncode == 2 and "stale info" in result.stderr
    assert git("-C", remote, "rev-parse", "gh-pages") == other


def command(path: Path, target: str, cwd: Path | None = None, **environment: str):
    return subprocess.run(
        [sys.executable, "-m", "atlas", "publish", str(path), "--to", target],
        env={**os.environ, **environment}, cwd=cwd, capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("https://github.com/Ada/Atlas", "https://ada.github.io/Atlas/"),
        ("https://key@github.com/ada/atlas.git", "https://ada.github.io/atlas/"),
        ("git@github.com:ada/atlas.git", "https://ada.github.io/atlas/"),
        ("ssh://git@github.com:22/ada/atlas.git", "https://ada.github.io/atlas/"),
        ("https://github.com/ada/ada.github.io", "https://ada.github.io/"),
        ("https://gitlab.com/lab/vision/atlas.git", "https://lab.gitlab.io/vision/atlas/"),
        ("https://github.com.evil.org/ada/atlas", ""),
        ("https://github.com/ada", ""),
        ("/srv/git/atlas.git", ""),
    ],
)
def test_the_address_that_pages_will_have(remote, address):
    assert to_git.address(remote) == address


def test_keys_in_addresses_are_not_shown():
    assert to_git.shown("https://ada:secret@host/x.git") == "https://host/x.git"


def test_a_folder(copy, tmp_path):
    out = tmp_path / "out"
    to(copy, f"dir:{out}")
    assert files(out) == files(copy / "site")
    page = out / "index.html"
    assert page.stat().st_ino != (copy / "site" / "index.html").stat().st_ino
    picture = next((out / "i").iterdir())
    assert picture.stat().st_nlink == 1  # the site has hard links to the atlas; this has none
    (out / "CNAME").write_text("atlas.example.org")
    (out / "0123abcd").mkdir()
    (out / "0123abcd" / "index.html").write_text("old")
    kept = picture.stat().st_mtime_ns
    (copy / "site" / "index.html").write_text("new")
    shutil.rmtree(copy / "site" / "classes")
    (copy / "site" / "classes").mkdir()
    (copy / "site" / "classes" / "9.html").write_text("another")
    to(copy, f"dir:{out}")
    others = {"CNAME": b"atlas.example.org", "0123abcd/index.html": b"old"}
    assert files(out) == {**files(copy / "site"), **others}
    assert picture.stat().st_mtime_ns == kept


def test_an_archive_is_the_same_bytes_each_time(copy, tmp_path):
    to(copy, f"zip:{tmp_path / 'one.zip'}")
    for number, path in enumerate((copy / "site").rglob("*")):
        os.utime(path, (number, number))
        if path.is_file():
            path.chmod(0o600)
    to(copy, f"zip:{tmp_path / 'two.zip'}")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == sorted(archive.namelist())
        assert {name: archive.read(name) for name in archive.namelist()} == files(copy / "site")
        assert json.loads(archive.read(".zenodo.json"))["upload_type"] == "dataset"
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub's interface as an upload needs; Spaces are files in a dictionary."""

    spaces: dict[str, dict[str, bytes]]

    def log_message(self, *_):
        pass

    def answer(self, value, status=200):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def do_GET(self):
        if self.headers.get("Authorization") != "Bearer hf_right":
            return self.answer({"error": "Invalid username or password."}, 401)
        if self.path == "/api/whoami-v2":
            return self.answer({"name": "ada", "type": "user"})
        name = "/".join(self.path.split("/")[3:5]).partition("?")[0]
        space = self.spaces.get(name)
        if space is None:
            return self.answer({"error": "Repository not found"}, 404)
        if "/tree/" in self.path:
            entries = [
                {"type": "file", "path": path, "size": len(content), "oid": "0" * 40}
                for path, content in space.items()
            ]
            return self.answer(entries)
        header = yaml.safe_load(space["README.md"].decode().split("---")[1])
        return self.answer({"id": name, "tags": header.get("tags", []), "sha": "0" * 40})

    def do_POST(self):
        content = self.body()
        if self.headers.get("Authorization") != "Bearer hf_right":
            return self.answer({"error": "Invalid username or password."}, 401)
        if self.path == "/api/validate-yaml":
            assert yaml.safe_load(json.loads(content)["content"].split("---")[1])["sdk"] == "static"
            return self.answer({"errors": [], "warnings": []})
        if self.path == "/api/repos/create":
            asked = json.loads(content)
            assert (asked["type"], asked["sdk"]) == ("space", "static")
            name = f"{asked.get('organization') or 'ada'}/{asked['name'].split('/')[-1]}"
            if name in self.spaces:
                return self.answer({"url": self.url(name)}, 409)
            template = (".gitattributes", "README.md", "index.html", "style.css")
            self.spaces[name] = dict.fromkeys(template, b"---\ntitle: x\n---\n")
            return self.answer({"url": self.url(name)})
        name = "/".join(self.path.split("/")[3:5])
        if "/preupload/" in self.path:
            names = [file["path"] for file in json.loads(content)["files"]]
            modes = {"uploadMode": "regular", "shouldIgnore": False}
            return self.answer({"files": [{"path": path, **modes} for path in names]})
        for line in map(json.loads, content.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                self.spaces[name][value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "deletedFile":
                del self.spaces[name][value["path"]]
        return self.answer(
            {
                "success": True,
                "commitOid": "1" * 40,
                "commitUrl": f"{self.url(name)}/commit/{1:040}",
            }
        )

    def url(self, name: str) -> str:
        return f"http://{self.headers['Host']}/spaces/{name}"


@pytest.fixture
def hub():
    handler = type("Handler", (Hub,), {"spaces": {}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        handler.endpoint = f"http://127.0.0.1:{server.server_port}"
        yield handler
        server.shutdown()


def to_hub(hub, path: Path, name: str, token: str = "hf_right"):
    return command(
        path, f"hf-space:{name}", HF_ENDPOINT=hub.endpoint, HF_TOKEN=token, HF_HUB_OFFLINE="0",
        HF_HUB_DISABLE_XET="1", HF_HOME=str(path / "hf"),
    )  # fmt: skip


def test_a_space(copy, hub):
    set_recipe(copy, "cite", license="CC-BY-4.0", title='A "title": with [signs]')
    result = to_hub(hub, copy, "tiny")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "https://huggingface.co/spaces/ada/tiny\n"
    assert "https://ada-tiny.static.hf.space/" in result.stderr
    space = hub.spaces["ada/tiny"]
    card = space.pop("README.md").decode()
    header = yaml.safe_load(card.split("---\n")[1])
    assert (header["sdk"], header["app_file"]) == ("static", "index.html")
    assert (header["title"], header["license"]) == ('A "title": with [signs]', "cc-by-4.0")
    assert atlas.open(copy).id in card
    del space[".gitattributes"]
    assert space == files(copy / "site")

    hub.spaces["ada/tiny"] |= {"README.md": card.encode(), "left.html": b"of an earlier one"}
    (copy / "site" / "index.html").write_text("new")
    assert to_hub(hub, copy, "ada/tiny").returncode == 0
    assert {**hub.spaces["ada/tiny"], "README.md": b""} == {
        **files(copy / "site"),
        "README.md": b"",
    }

    hub.spaces["ada/other"] = {"README.md": b"---\ntitle: mine\n---\n", "app.py": b"years of work"}
    result = to_hub(hub, copy, "other")
    assert result.returncode == 2 and "not published from an atlas" in result.stderr
    assert len(hub.spaces["ada/other"]) == 2


@pytest.mark.parametrize(
    ("token", "message"), [("", "put it in HF_TOKEN"), ("hf_wrong", "check its name, the token")]
)
def test_a_space_needs_a_token(copy, hub, token, message):
    result = to_hub(hub, copy, "tiny", token)
    assert (result.returncode, result.stdout) == (2, "")
    assert message in result.stderr and len(result.stderr.splitlines()) == 1


def test_the_address_of_a_space():
    assert to_space.address("Ada/My_Atlas.v2") == "https://ada-my-atlas-v2.static.hf.space/"


def _unbuilt(path: Path) -> None:
    shutil.rmtree(path / "site")


def _linked(path: Path) -> None:
    (path / "site" / "secret.txt").symlink_to(path / "manifest.json")  # in the atlas, not the site


def _repository(path: Path) -> None:
    (path / "site" / ".git").mkdir()


def _kept_back(path: Path) -> None:
    set_recipe(path, "cite", rights="For research; the photographs must not be redistributed.")


def _none(path: Path) -> None:
    set_recipe(path, "site", images="none")


def _thumbs(path: Path) -> None:
    set_recipe(path, "site", images="thumbs")
    picture = max((path / "site" / "i").iterdir())
    picture.unlink()
    random = Image.effect_noise((100, 100), 90)
    random.save(picture)


def _nothing(path: Path) -> None:
    pass


def _filled(path: Path) -> None:
    (path.parent / "filled").mkdir()
    (path.parent / "filled" / "thesis.txt").write_text("years of work")


def _taken(path: Path) -> None:
    (path.parent / "taken.zip").write_text("mine")


BAD = {
    "way": (_nothing, "ftp:host", "is no place to publish"),
    "nowhere": (_nothing, "git:", "is no place to publish"),
    "no site": (_unbuilt, "dir:{}/out", "run `atlas site"),
    "link": (_linked, "zip:{}/out.zip", "is a link"),
    "repository": (_repository, "zip:{}/out.zip", "no plain file"),
    "rights": (_kept_back, "dir:{}/out", "must not be redistributed"),
    "no pictures": (_none, "dir:{}/out", "site.images=none` first"),
    "whole pictures": (_thumbs, "dir:{}/out", "site.images=thumbs` first"),
    "no remote": (_nothing, "git:{}/nope.git", "check the address"),
    "unreachable": (_nothing, "git:http://127.0.0.1:9/x.git", "check the address"),
    "option": (_nothing, "git:--upload-pack=x", "no address of a repository"),
    "shell": (_nothing, "git:ext::sh -c date", "not allowed"),
    "branch": (_nothing, "git:{}/x#a..b", "cannot be the name of a branch"),
    "folder": (_filled, "dir:{}/filled", "no earlier publication"),
    "file": (_taken, "dir:{}/taken.zip", "is a file"),
    "itself": (_nothing, "dir:{}/atlas/site/out", "name a folder outside"),
    "around": (_nothing, "dir:{}", "name a folder outside"),
    "zip": (_taken, "zip:{}/taken.zip", "is there already"),
    "zip in itself": (_nothing, "zip:{}/atlas/site/a.zip", "in the site itself"),
    "ending": (_nothing, "zip:{}/a.tar", "the ending .zip"),
}


@pytest.mark.parametrize(("spoil", "target", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_published_is_said_in_one_line(copy, spoil, target, message):
    spoil(copy)
    before = {path: path.stat().st_mtime_ns for path in copy.parent.rglob("*")}
    with pytest.raises(atlas.UserError, match=re.escape(message)) as error:
        to(copy, target.format(copy.parent))
    assert len(str(error.value).splitlines()) == 1
    assert {path: path.stat().st_mtime_ns for path in copy.parent.rglob("*")} == before


def test_without_git_other_ways_are_named(copy, remote):
    result = command(copy, f"git:{remote}", PATH="/nonexistent")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "atlas: git is not installed: install it, or publish with dir: or zip:\n"
    )


def test_rights_that_allow_it_do_not_stop_it(copy, tmp_path):
    set_recipe(copy, "cite", rights="Drawn by us; share and publish them as you like.")
    to(copy, f"dir:{tmp_path / 'out'}")


def test_a_site_without_pictures_may_always_go(copy, tmp_path):
    _kept_back(copy)
    shutil.rmtree(copy / "site" / "i")
    to(copy, f"dir:{tmp_path / 'out'}")


def test_the_address_is_set_in_the_recipe(copy, tmp_path, run):
    out = tmp_path / "out"
    note, place = to(copy, f"dir:{out}")
    assert 'put url = "https://..." under [cite]' in note and place == str(out)
    set_recipe(copy, "cite", url="https://ada.github.io/atlas/")
    note, _ = to(copy, f"dir:{out}")
    assert "does not say yet that it is at https://ada.github.io/atlas/: run `atlas site" in note
    assert run("site", copy).returncode == 0
    assert to(copy, f"dir:{out}") == [str(out)]


def test_a_large_site_is_said_to_be_large_before_it_goes(copy):
    with (copy / "site" / "large.bin").open("wb") as file:
        file.truncate(10**9)  # without a byte on the disk
    said: list[str] = []
    with pytest.raises(atlas.UserError, match="more than 100 MB, which GitHub refuses"):
        publish(atlas.open(copy), "git:https://github.com/ada/atlas", said.append)
    [line] = said
    assert line.startswith("the site has 1.0 GB, and free hosts take about 1 GB")


def test_the_command_prints_where_it_is(copy, tmp_path):
    result = command(copy, f"dir:{tmp_path / 'out'}")
    assert (result.returncode, result.stdout) == (0, f"{tmp_path / 'out'}\n")
    assert len(result.stderr.splitlines()) == 1
