"""A site as a branch of a git repository: GitHub Pages, GitLab Pages and others.

The branch is one commit without history, so that pictures of earlier versions do not stay in the
repository for ever. Git itself does it: ghp-import adds commit to commit, and `git add` would heed
ignored names and filters, whereas `git fast-import` takes files as they are.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from atlas.errors import UserError
from atlas.plain import plain
from atlas.publishing.finished import FinishedSite

BRANCH = "gh-pages"
"""Unless another is named."""

TRAILER = "Concept-Atlas"
"""Key of the line in a commit's message by which a branch is known as one that was made here."""

_LARGEST = 100 * 2**20
"""Bytes of the largest file that GitHub takes."""

_HOSTED = re.compile(
    r"(?:(?:https?|ssh|git)://(?:[^/@]*@)?|[^/@:]+@)(github\.com|gitlab\.com)(?::\d+/|[:/])(.+)"
)


def address(remote: str) -> str:
    """Return where the pages of a repository at GitHub or GitLab will be; empty for others."""
    found = _HOSTED.fullmatch(remote)
    if not found:
        return ""
    user, _, repository = found[2].removesuffix("/").removesuffix(".git").partition("/")
    host = f"{user.lower()}.{found[1].replace('.com', '.io')}"
    path = "" if repository.lower() == host else f"{repository}/"
    return f"https://{host}/{path}" if repository else ""


def shown(remote: str) -> str:
    """Return a remote without the key that may stand in it."""
    return plain(re.sub(r"//[^/@]*@", "//", remote))


def send(
    site: FinishedSite, remote: str, branch: str, atlas_id: str, older: Sequence[str] = ()
) -> bool:
    """Make a site the only commit of a branch, and push it.

    Pictures that the branch has already are not sent again, if its server can leave them out.

    Parameters
    ----------
    site : FinishedSite
        The site.
    remote : str
        Address or path of the repository.
    branch : str
        Name of a branch that is not there yet, or that this function made.
    atlas_id : str
        Id of the atlas, for the message.
    older : sequence of str
        Folders that stay in the branch as they are.

    Returns
    -------
    bool
        Whether there was anything to push.

    Raises
    ------
    UserError
        Git is missing, cannot reach the repository or may not write to it, or the branch has
        content of others.
    """
    if not remote or remote.startswith("-"):
        raise UserError(f"{plain(remote)!r} is no address of a repository: give git:REMOTE")
    large = [name for name, size in site.sizes.items() if size > _LARGEST]
    if large and ".github.io/" in address(remote):
        raise UserError(f"{site.root / large[0]} has more than 100 MB, which GitHub refuses")
    if Path(remote).is_dir():
        remote = str(Path(remote).resolve())
    with tempfile.TemporaryDirectory(prefix="atlas-publish-") as folder:
        git = _Git(Path(folder) / "git", remote)
        ref = f"refs/heads/{branch}"
        if git.run("check-ref-format", ref, fails=True) is None:
            raise UserError(f"{plain(branch)[:80]!r} cannot be the name of a branch")
        git.run("init", "--quiet", "--bare", "--template=", str(git.folder))
        git.run("remote", "add", "origin", "--", remote)
        heads = (git.run("ls-remote", "--heads", "origin", ref) or "").split()
        before = heads[0] if heads else ""
        if before:
            lean = ("--quiet", "--no-tags", "--depth=1", "--filter=blob:none")
            git.run("fetch", *lean, "origin", ref)
            _check_ours(git, before, branch)
        kept = {name: git.run("rev-parse", f"{before}:{name}", fails=True) for name in older}
        git.write(_stream(site, ref, atlas_id, git.committer(), kept))
        if before and git.tree(ref) == git.tree(before):
            return False
        git.run("push", "--quiet", f"--force-with-lease={ref}:{before}", "origin", f"{ref}:{ref}")
    return True


def _check_ours(git: "_Git", commit: str, branch: str) -> None:
    """Look whether a commit was made here and is the only one of its branch."""
    head, _, message = (git.run("cat-file", "commit", commit) or "").partition("\n\n")
    if "\nparent " in head or not re.search(rf"^{TRAILER}: \S", message, re.MULTILINE):
        raise UserError(
            f"the branch {branch} of {shown(git.remote)} has content that was not published from "
            "an atlas: name another branch with #BRANCH, or delete that one"
        )


def _stream(
    site: FinishedSite, ref: str, atlas_id: str, committer: str, kept: dict[str, str | None]
) -> Iterator[bytes]:
    """Yield the input of `git fast-import`: one commit without parents that has these files."""
    message = f"Publish the atlas {plain(atlas_id)}\n\n{TRAILER}: {plain(atlas_id)}\n".encode()
    yield f"commit {ref}\ncommitter {committer}\ndata {len(message)}\n".encode() + message
    for name, tree in kept.items():
        if tree:
            yield f"M 040000 {tree} {_quoted(name)}\n".encode()
    for name in site.sizes:
        content = (site.root / name).read_bytes()
        yield f"M 100644 inline {_quoted(name)}\ndata {len(content)}\n".encode()
        yield content
        yield b"\n"
    yield b"done\n"


def _quoted(name: str) -> str:
    """Return a path as git reads it."""
    escaped = name.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'"{escaped}"'


class _Git:
    """Git with a repository of its own, which has nothing to do with the one around us."""

    def __init__(self, folder: Path, remote: str) -> None:
        program = shutil.which("git")
        if program is None:
            raise UserError("git is not installed: install it, or publish with dir: or zip:")
        self.folder = folder
        self.remote = remote
        self._command = [program, "--git-dir", str(folder)]
        self._environment = {
            **{key: value for key, value in os.environ.items() if key not in _AROUND},
            "LC_ALL": "C",  # messages are looked through
            "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
            # Nobody could answer: without this it would wait for ever.
            "GIT_TERMINAL_PROMPT": "1" if sys.stdin and sys.stdin.isatty() else "0",
        }

    def run(self, *arguments: str, fails: bool = False) -> str | None:
        """Run a command; return what it prints, or None if it fails and `fails` allows that."""
        done = subprocess.run(  # noqa: S603 (a list of arguments; no shell)
            [*self._command, *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        if done.returncode == 0:
            return done.stdout.decode(errors="replace").strip()
        if fails:
            return None
        raise self._failed(arguments[0], done.stderr)

    def write(self, parts: Iterator[bytes]) -> None:
        """Give `git fast-import` its input."""
        with tempfile.TemporaryFile() as errors:
            command = [*self._command, "fast-import", "--quiet", "--done"]
            process = subprocess.Popen(  # noqa: S603 (as above)
                command,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
            assert process.stdin is not None
            try:
                with process.stdin as out:
                    for part in parts:
                        out.write(part)
            except BrokenPipeError:  # what went wrong stands in its messages
                pass
            finally:
                status = process.wait()
            if status:
                errors.seek(0)
                raise self._failed("fast-import", errors.read())

    def committer(self) -> str:
        """Return who publishes, and when: as git has been said, or this package."""
        known = self.run("var", "GIT_COMMITTER_IDENT", fails=True)
        if known:
            return known
        return self.run(
            *("-c", "user.name=Concept Atlas", "-c", "user.email=atlas@localhost"),
            *("var", "GIT_COMMITTER_IDENT"),
        ) or ""  # fmt: skip

    def tree(self, commit: str) -> str | None:
        """Return the digest of the files of a commit."""
        return self.run("rev-parse", f"{commit}^{{tree}}")

    def _failed(self, what: str, stderr: bytes) -> UserError:
        lines = stderr.decode(errors="replace").splitlines()
        said = [line for line in lines if re.match(r"\s*(fatal|error|remote|!)\b|\s*!", line)]
        reason = shown("; ".join((said or lines)[:2]))[:300]
        return UserError(
            f"git {what} of {shown(self.remote)} failed ({reason}): check the address and whether "
            "git may write to it"
        )


_AROUND = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"})
"""What names another repository, where this runs from a hook."""
