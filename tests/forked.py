"""Runs `python -m atlas` again and again in forks of one process that has imported everything.

Importing takes 3 seconds, which is most of the time of a command on a few pictures. Each command
still has a process of its own, with its own directory, arguments, environment and exit status.

It reads lines of JSON (`arguments`, `cwd`, `environment`, and files for `stdout` and `stderr`) and
answers each with the exit status.
"""

import atexit
import gc
import json
import os
import runpy
import select
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

IMPORTED = ("atlas.cli", "atlas.pipeline", "datasets", "faiss", "torchvision", "transformers")

TIMEOUT = 300
"""Seconds that a command may take."""


def serve() -> int:
    """Answer until there is nothing to read any more."""
    for name in IMPORTED:
        __import__(name)
    gc.freeze()  # what is never looked at again need not be copied
    answers = os.fdopen(os.dup(1), "w")
    for line in iter(sys.stdin.readline, ""):
        asked = json.loads(line)
        child = os.fork()
        if not child:
            end(become(asked))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)
    return 0


def become(asked: dict[str, Any]) -> int:
    """Be `python -m atlas` with what was asked for, and return the exit status."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(asked[name], flags), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["cwd"])
    sys.path[0] = asked["cwd"]
    sys.argv = ["atlas", *asked["arguments"]]
    try:
        runpy.run_module("atlas", run_name="__main__", alter_sys=True)
    except SystemExit as error:
        if isinstance(error.code, str):
            sys.stderr.write(error.code + "\n")
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def end(status: int) -> None:
    """End this process as an interpreter does, without taking apart what it shares: 1.5 s."""
    threading._shutdown()  # waits for threads
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


class Launcher:
    """Runs commands, in a fork where the environment is as it was and forks are safe."""

    def __init__(self) -> None:
        self._environment = environment()
        self._server: subprocess.Popen[str] | None = None

    def __call__(
        self, arguments: Sequence[str], cwd: Path | None
    ) -> subprocess.CompletedProcess[str]:
        """Run `atlas` with arguments and return what it said."""
        command = [sys.executable, "-m", "atlas", *arguments]
        if sys.platform != "linux" or environment() != self._environment:
            return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT)
        with TemporaryDirectory() as folder:
            files = {name: str(Path(folder) / name) for name in ("stdout", "stderr")}
            place = str(Path.cwd() if cwd is None else cwd)
            status = self._ask(
                {"arguments": arguments, "cwd": place, "environment": dict(os.environ), **files}
            )
            said = {name: Path(file).read_text("utf-8") for name, file in files.items()}
        return subprocess.CompletedProcess(command, status, **said)

    def close(self) -> None:
        """End the process from which others are forked."""
        if self._server is not None:
            self._server.kill()
            self._server.communicate()

    def _ask(self, asked: dict[str, Any]) -> int:
        if self._server is None:
            self._server = subprocess.Popen(
                [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(asked) + "\n")
        self._server.stdin.flush()
        if not select.select([self._server.stdout], [], [], TIMEOUT)[0]:
            self.close()
            raise TimeoutError(f"atlas {asked['arguments']} takes more than {TIMEOUT} s")
        return int(self._server.stdout.readline())


def environment() -> dict[str, str]:
    """Return what libraries may have read of the environment when they were imported."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}


if __name__ == "__main__":
    warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
    sys.path.insert(0, str(Path(__file__).parents[1]))
    sys.exit(serve())
