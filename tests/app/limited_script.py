"""``autoloss`` where a file may have at most so many bytes, or where root has no more rights than others: PLACE LIMIT ARGUMENTS."""

import ctypes
import os
import resource
import sys

from autoloss.app.main import run

if __name__ == "__main__":
    os.chdir(sys.argv.pop(1))
    limit = sys.argv.pop(1)
    if limit.isdigit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    elif os.geteuid() == 0:
        # Without its capabilities root may write only where the permissions let it.
        version, everything = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        assert ctypes.CDLL(None).capset(version, everything) == 0
    run()
