"""Whether what is computed is part of a training step.

Models that draw numbers or keep averages in training do neither where they are
validated or rolled out: `updates` says which it is.
"""

import contextlib
import contextvars
from collections.abc import Iterator

_TRAINING: contextvars.ContextVar[bool] = contextvars.ContextVar(
  "training", default=False
)


@contextlib.contextmanager
def training() -> Iterator[None]:
  """Surrounds the loss of a training step."""
  token = _TRAINING.set(True)
  try:
    yield
  finally:
    _TRAINING.reset(token)


def is_training() -> bool:
  """Returns whether this is part of a training step."""
  return _TRAINING.get()
