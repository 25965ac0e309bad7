"""The operator's entry point."""

from __future__ import annotations

import asyncio
import os
import sys
import threading

from backstay.adapters.clock import SystemClock
from backstay.app.engine import HostEngine, MakeEngine
from backstay.app.logs import configure_logs
from backstay.app.settings import Settings, SettingsError
from backstay.app.wiring import Operator

# A stopped operator must not hold up its successor; what it leaves behind, the hosts end.
EXIT_WITHIN_S = 2.8
NOT_CLEAN = 1


def main() -> None:
    """The operator runs until it is told to end; exits with 0 then, and with 1 after a failure."""
    try:
        settings = Settings.from_environment(os.environ)
    except SettingsError as error:
        sys.exit("\n".join(("backstay-operator: cannot start with these settings", *error.args)))
    sys.exit(run(settings, HostEngine))


def run(settings: Settings, make_engine: MakeEngine) -> int:
    """The operator has run; returns its exit code, at the latest 3 s after it was told to end."""
    configure_logs(settings.log_format)
    wait_for_children_without_threads()
    operator = Operator(settings, SystemClock(), make_engine)
    return asyncio.run(operator.live(_end_in_time))


def wait_for_children_without_threads() -> None:
    """The end of a child is told by its pidfd; Python 3.11 keeps a thread for each by default.

    200 hosts are 400 children.
    """
    if sys.version_info < (3, 12):
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())


def _end_in_time() -> None:
    """The process ends soon, even if a request, a thread or a task of a library does not."""
    last_resort = threading.Timer(EXIT_WITHIN_S, os._exit, args=(NOT_CLEAN,))
    last_resort.daemon = True
    last_resort.start()
