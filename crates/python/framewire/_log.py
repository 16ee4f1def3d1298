"""Passes the library's log on to Python's `logging`, as the logger "framewire"."""

import logging
import threading

from ._framewire import next_log


def start() -> None:
    threading.Thread(target=_forward, name="framewire-log", daemon=True).start()


def _forward() -> None:
    logger = logging.getLogger("framewire")
    while (line := next_log()) is not None:
        logger.log(*line)
