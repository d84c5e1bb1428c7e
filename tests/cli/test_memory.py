"""Kept memory: what a process that called `keep_pages` gets from the C library and the system."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

HUGE = Path("/sys/kernel/mm/transparent_hugepage/enabled")

BEGIN = """
import ctypes, sys
from atlas.cli import memory
if sys.argv[1] == "kept":
    memory.keep_pages()
import torch
"""

FLAGS = """
buffer = torch.ones(16 << 20)  # 64 MB
for line in open("/proc/self/smaps"):
    if "-" in (ends := line.split()[0]):
        low, high = (int(end, 16) for end in ends.split("-"))
    if low <= buffer.data_ptr() < high and line.startswith("VmFlags"):
        print(int("hg" in line.split()))
"""

MAPPED = """
class Info(ctypes.Structure):  # malloc.h; the fourth field counts buffers outside the heap
    _fields_ = [(name, ctypes.c_size_t) for name in "abcdefghij"]

info = ctypes.CDLL(None).mallinfo2
info.restype = Info
before = info().d
buffer = torch.ones(3 << 20)  # 12 MB
print(info().d - before)
"""


def run(code: str, how: str) -> int:
    command = [sys.executable, "-c", BEGIN + code, how]
    clean = {name: value for name, value in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"}
    return int(subprocess.check_output(command, env=clean, text=True))


@pytest.mark.skipif(not HUGE.exists(), reason="no huge pages on this system")
def test_large_buffers_ask_for_huge_pages():
    assert run(FLAGS, "usual") == 0
    assert run(FLAGS, "kept") == 1


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallinfo2"),
    reason="another C library",
)
def test_others_stay_in_the_heap_to_be_used_again():
    assert run(MAPPED, "usual") == 1
    assert run(MAPPED, "kept") == 0
