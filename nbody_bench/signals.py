"""Stopping at a place where the state is whole."""

import signal


class StopRequest:
  """Turns the first Ctrl-C or SIGTERM into a request to stop.

  Between an optimiser step and its count there is no safe place to save; a loop
  that is inside this context looks at `requested` after each step instead. The
  second signal acts as it did before.

  Attributes:
    requested: whether a signal has come.
  """

  _SIGNALS = (signal.SIGINT, signal.SIGTERM)

  def __init__(self):
    self.requested = False

  def __enter__(self):
    self._before = {s: signal.getsignal(s) for s in self._SIGNALS}
    for number in self._SIGNALS:
      signal.signal(number, self._note)
    return self

  def __exit__(self, *_):
    self._restore()

  def _note(self, *_):
    self.requested = True
    self._restore()

  def _restore(self):
    for number, handler in self._before.items():
      signal.signal(number, handler)
