"""Times several sides in turn, so that a busy moment hits all of them."""

import time

import numpy as np


def interleave(sides, calls: int, turns: int) -> np.ndarray:
  """Returns seconds a call, `[len(sides), turns]`.

  Args:
    sides: functions of the call's number that return a tensor; the last one of
      a turn is fetched inside the clock.
    calls: of each side in one turn.
    turns: after one that is not counted.
  """
  seconds = np.zeros((len(sides), turns + 1))
  for turn in range(turns + 1):
    for side, row in zip(sides, seconds, strict=True):
      began = time.perf_counter()
      for i in range(calls):
        result = side(turn * calls + i)
      np.asarray(result)
      row[turn] = (time.perf_counter() - began) / calls
  return seconds[:, 1:]
