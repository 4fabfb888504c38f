"""Run as a process: the command in a directory, `ranks_script.py DIRECTORY ARGUMENT...`."""

import os
import sys

from autoloss.app.main import main

if __name__ == "__main__":
    os.chdir(sys.argv[1])
    sys.path.insert(0, sys.argv[1])
    code = main(sys.argv[2:])
    sys.stdout.flush()
    sys.exit(code)
