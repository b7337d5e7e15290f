"""Stopping at a place where the state is whole."""

import contextlib
import signal
from collections.abc import Iterator

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_received = False


def stop_requested() -> bool:
  """Returns whether a signal has come inside `raising` or `noting`.

  An exception raised by a signal may be lost: native code that happens to call
  back into Python at that moment drops it. Long loops ask here as well.
  """
  return _received


@contextlib.contextmanager
def raising() -> Iterator[None]:
  """Inside, Ctrl-C and SIGTERM raise KeyboardInterrupt and are remembered."""

  def handle(*_):
    global _received
    _received = True
    raise KeyboardInterrupt

  with _handled_by(handle):
    yield


@contextlib.contextmanager
def noting() -> Iterator[None]:
  """Inside, the first Ctrl-C or SIGTERM is only remembered.

  Between an optimiser step and its count there is no safe place to save; a loop
  inside this context looks at `stop_requested` after each step instead. The
  second signal acts as it did before.
  """
  before = {s: signal.getsignal(s) for s in _SIGNALS}

  def handle(*_):
    global _received
    _received = True
    for number, handler in before.items():
      signal.signal(number, handler)

  with _handled_by(handle):
    yield


@contextlib.contextmanager
def _handled_by(handle):
  global _received
  _received = False
  # What the parent told us to ignore, as a shell does for background jobs,
  # stays ignored.
  heard = [s for s in _SIGNALS if signal.getsignal(s) != signal.SIG_IGN]
  before = {s: signal.signal(s, handle) for s in heard}
  try:
    yield
  finally:
    _received = False
    for number, handler in before.items():
      signal.signal(number, handler)
