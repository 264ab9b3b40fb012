"""A daemon whose wall clock a test moves (tests/faults/clock_shim.c, preloaded)."""
import mmap
import os
import struct
import subprocess
import time

from quern_client import ROOT, Daemon


def build_shim(folder):
    path = os.path.join(str(folder), "clock_shim.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-o", path, os.path.join(ROOT, "tests", "faults", "clock_shim.c")], check=True)
    return path


class Clock:
    def __init__(self, path):
        self.file = open(path, "w+b")
        self.file.write(b"\0" * 16)
        self.file.flush()
        self.map = mmap.mmap(self.file.fileno(), 16)

    def jump(self, ms):
        """From now on `ms` beside the machine's clock."""
        self.map[0:16] = struct.pack("qq", ms, 0)

    def stand(self):
        offset, _ = struct.unpack("qq", self.map[0:16])
        self.map[0:16] = struct.pack("qq", offset, int(time.time() * 1000) + offset)


def daemon(shim, folder, env=None):
    """Prepared, not started; daemon.clock moves its clock."""
    path = os.path.join(str(folder), "clock")
    clock = Clock(path)
    asan = os.environ.get("ASAN_OPTIONS", "")
    d = Daemon(env=env)
    d.prepare(flights=False)
    d.env.update({"LD_PRELOAD": shim, "QUERN_TEST_CLOCK": path, "ASAN_OPTIONS": asan + ":verify_asan_link_order=0"})
    d.clock = clock
    return d
