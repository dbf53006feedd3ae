"""Noticing that Ray's head is lost, before Ray itself ends the process without a message.

Ray 2.60 waits 60 s for its GCS and then calls `_Exit(1)`, without a clean-up or a message to the
user. A thread checks meanwhile whether the GCS answers, and ends the session some seconds earlier.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType

from cluster.errors import ClusterError
from cluster.threads import background

_log = logging.getLogger(__name__)

#: Ray's own time limit in seconds, and the variable that changes it.
RAY_PATIENCE = 60.0
RAY_PATIENCE_NAME = "RAY_gcs_rpc_server_reconnect_timeout_s"
#: Seconds: by which a session gives up earlier than Ray, between two checks of the GCS, for the
#: answer to a check, and for the main thread's clean-up.
AHEAD_SECONDS = 15.0
KNOCK_SECONDS = 1.0
ANSWER_SECONDS = 5.0
CLEAN_UP_SECONDS = 8.0
#: Signal by which the thread interrupts the main thread; Ray Tune itself uses SIGUSR1.
LOST = signal.SIGUSR2


def patience_of(environment: Mapping[str, str]) -> float:
    """Seconds to wait for a GCS that may be restarting; less than Ray waits."""
    try:
        ray_seconds = float(environment.get(RAY_PATIENCE_NAME, RAY_PATIENCE))
    except ValueError:
        ray_seconds = RAY_PATIENCE
    return max(ray_seconds - AHEAD_SECONDS, ray_seconds / 2)


class Head:
    """The GCS at `address` (host:port), and whether it was `lost` for good.

    `patience`: seconds without an answer until it is lost; default: 15 less than Ray waits.
    `last_act` is called before the process ends if the main thread cannot clean up.
    """

    def __init__(
        self,
        address: str,
        patience: float | None = None,
        last_act: Callable[[], None] = lambda: None,
    ) -> None:
        self.address = address
        self.lost = False
        self.message = (
            f"Ray's head at {address} does not answer any more; what was recorded is kept. Start "
            "Ray again, or unset ALIGNERY_RAY_ADDRESS for a local one, and go on: "
            "`alignery sweep resume` continues a sweep"
        )
        host, _, port = address.rpartition(":")
        self._at = host, int(port)
        self._patience = patience_of(os.environ) if patience is None else patience
        self._last_act = last_act
        self._over = threading.Event()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """End the block with a ClusterError when the head is lost.

        Does nothing outside the main thread. If the main thread hangs in Ray and cannot be
        interrupted, the process ends with the same message and exit code 2.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(LOST, _raise)
        background("alignery-head", self._watch)
        try:
            yield
        except BaseException:
            if not self.lost:
                raise
            raise ClusterError(self.message) from None
        finally:
            self._close()
            signal.signal(LOST, before)

    def _close(self) -> None:
        if self.lost:
            atexit.register(_leave)  # Ray's own exit hook would wait for the head
        else:
            self._over.set()

    def _watch(self) -> None:
        answered = time.monotonic()
        while not self._over.wait(KNOCK_SECONDS):
            if self._answers():
                answered = time.monotonic()
            elif time.monotonic() - answered >= self._patience:
                self._give_up()
                return

    def _answers(self) -> bool:
        try:
            knock(*self._at)
        except OSError:
            return False
        except Exception as error:  # a watch that ended would leave the process hanging
            _log.info("Ray's head at %s could not be asked", self.address, exc_info=error)
            return False
        return True

    def _give_up(self) -> None:
        if self._over.is_set():
            return
        self.lost = True
        main = threading.main_thread()
        signal.pthread_kill(main.ident or 0, LOST)
        main.join(CLEAN_UP_SECONDS)
        if main.is_alive():
            try:
                with suppress(OSError, ValueError):  # stderr may be closed
                    print(f"error: {self.message}", file=sys.stderr)
                self._last_act()
            finally:  # else the process would hang
                _leave()


def knock(host: str, port: int) -> None:
    """Connect to host:port and close; OSError unless a server listens there."""
    socket.create_connection((host, port), timeout=ANSWER_SECONDS).close()


def _raise(_number: int, _frame: FrameType | None) -> None:
    # Where Ray waits in C++, it only passes on KeyboardInterrupt and SystemExit.
    raise SystemExit(2)


def _leave() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or None
            stream.flush()
    os._exit(2)
