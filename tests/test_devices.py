"""Memory: what an evaluation frees is kept for the next one where pictures are small, else given back."""

import os
import subprocess
import sys

import pytest

from stylelab import devices

BLOCK = devices.LARGE * 2
PROGRAM = f"""
import resource, sys
import stylelab, torch
from stylelab import devices

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

def evaluate():
    blocks = [torch.ones({BLOCK} // 4) for _ in range(8)]
    full = resident()
    del blocks
    return full - resident()

evaluate()
devices.give_back_freed_memory(largest=int(sys.argv[1]))
print(min(evaluate() for _ in range(3)))
"""


def given_back(largest: int) -> int:
    """Bytes of eight blocks that went back to the system when they were freed."""
    found = subprocess.run([sys.executable, "-c", PROGRAM, str(largest)], capture_output=True, text=True, check=True)
    return int(found.stdout)


@pytest.mark.skipif(
    not os.path.exists("/proc/self/statm")
    or not devices.HUGE_PAGES.exists()
    or "[never]" in devices.HUGE_PAGES.read_text()
    or "glibc" not in os.confstr("CS_GNU_LIBC_VERSION"),
    reason="only with glibc and large pages",
)
def test_memory_of_large_pictures_is_given_back_and_that_of_small_ones_kept():
    assert given_back(largest=devices.MOST_KEPT) > 7 * BLOCK
    assert given_back(largest=BLOCK) < BLOCK
