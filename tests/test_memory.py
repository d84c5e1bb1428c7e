"""Kept pages: a buffer that is asked for again causes no page faults."""

import subprocess
import sys

import pytest

FAULTS = """
import resource
from atlas import memory
{call}
import torch

def step():
    torch.ones(2 << 20).add_(1)  # 8 MB

step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other C libraries have no such settings")
def test_buffers_are_used_again():
    def faults(call: str) -> int:
        command = [sys.executable, "-c", FAULTS.format(call=call)]
        environment = {"THP_MEM_ALLOC_ENABLE": "0"} if not call else {}
        return int(subprocess.check_output(command, env=environment, text=True))

    assert faults("") > 20 * 500  # without: 8 MB are 2,048 pages
    assert faults("memory.keep_pages()") < 20 * 10
