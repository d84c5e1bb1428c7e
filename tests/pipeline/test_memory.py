"""What stages have freed goes back to the system, also from between what is still used."""

import ctypes
import subprocess
import sys

import pytest

FREED = """
import numpy as np
from atlas.cli import memory as kept
from atlas.pipeline.memory import give_back

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

kept.keep_pages()
made = [(np.ones(1 << 19), np.ones(1 << 15)) for _ in range(50)]  # 4 MB and 256 kB in turns
last = [small for _, small in made]
del made
before = resident()
give_back()
print(before - resident())
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"),
    reason="another C library",
)
def test_what_was_freed_between_what_is_used_goes_back():
    freed = subprocess.check_output([sys.executable, "-c", FREED], text=True)
    assert int(freed) > 150 << 20
