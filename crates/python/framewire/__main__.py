"""The program `framewire`, in this process: `python -m framewire` and the console command."""

import signal
import sys

from ._framewire import main as run


def main() -> int:
    # The program has handlers of its own, and Python's would only note the signal.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return run(["framewire", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
