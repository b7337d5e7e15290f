"""Static sizes for numbers that depend on the data.

XLA needs the size of every array before it sees the data; how many edges or
occupied cells there are depends on where the particles are. So a program is
compiled for sizes with some headroom, says what it would have needed, and is
compiled again, larger, when that was more: nothing is dropped unnoticed.

What builds a graph asks for a size,

    size = capacity.fit("particle_edges", need, most=n * (n - 1))

and gets, as a Python number,

- outside any program (eagerly): `need` itself;
- in a program of `rollouts.compiled` or `training.train`: the size that the
  program was compiled for, and the program's `Room` takes note of the need;
- in a `tf.function` of your own: `most`, which is always enough, and slow.

The model itself takes no notice: it holds none of this.
"""

import contextlib
import contextvars
from collections.abc import Iterator, Mapping

import tensorflow as tf

# Of names in one program. A loop carries its needs in an array of this length,
# for its shape must be known before the body is traced.
_MAX_NAMES = 32
_HUGE = 2**31 - 1
# A size beyond this many rows is a sign that all particles have met in one
# place, and would not fit in memory.
LARGEST = 2**26
# How names end of sizes that get no headroom: they are no counts, or counts
# that the bonds fix.
EXACT = "_reach"


class CapacityError(ValueError):
  """More is needed than can be given room."""


class Room:
  """What one program has room for, and what it needed.

  Attributes:
    sizes: by name.
    first: output time to go on from, a scalar integer tensor; see
      `simulators.unroll`.
    done: output times that were finished, set by `simulators.unroll` where the
      rest can follow from the last of them; None where it cannot.
    measures: whether needs are all that is asked for, as by `measure`.
  """

  def __init__(self, sizes: Mapping[str, int], first=0, measures=False):
    if len(sizes) > _MAX_NAMES:
      raise ValueError(f"{len(sizes)} sizes in one program: {sorted(sizes)}")
    self.sizes = dict(sizes)
    self.first = first
    self.measures = measures
    self.done: tf.Tensor | None = None
    self.names = sorted(sizes)
    self.needs = tf.zeros([_MAX_NAMES], tf.int32)

  @property
  def overflow(self) -> tf.Tensor:
    """Whether any need was larger than its size, a boolean scalar."""
    return self.exceeded_by(self.needs)

  def exceeded_by(self, needs: tf.Tensor) -> tf.Tensor:
    """Returns whether `needs` `[32]` would overflow, a boolean scalar."""
    known = [self.sizes[n] for n in self.names if n in self.sizes]
    room = known + [_HUGE] * (_MAX_NAMES - len(known))
    return tf.reduce_any(needs > tf.constant(room, tf.int32))

  def note(self, name: str, need: tf.Tensor) -> None:
    """Takes note of a need."""
    if _graph(need) is not _graph(self.needs):
      raise ValueError(
        f"the size of {name!r} is asked for inside a tf.function, a tf.while_"
        "loop or the like of your own, from where its need cannot be told; "
        "drop the inner tf.function (the whole roll-out is compiled), and "
        "repeat by capacity.repeat or simulators.unroll"
      )
    if name not in self.names:
      self.names.append(name)
    place = self.names.index(name)
    if place >= _MAX_NAMES:
      raise ValueError(f"over {_MAX_NAMES} sizes in one program: {self.names}")
    vector = tf.one_hot(place, _MAX_NAMES, dtype=tf.int32) * need
    self.needs = tf.maximum(self.needs, vector)

  @contextlib.contextmanager
  def inside_loop(self) -> Iterator["Room"]:
    """The room of a loop's body: `needs` start at 0 and are to be carried."""
    inner = Room({}, measures=self.measures)
    inner.sizes, inner.names = self.sizes, self.names
    with within(inner):
      yield inner


def _graph(tensor):
  return tensor.graph if tf.is_symbolic_tensor(tensor) else None


_ROOM: contextvars.ContextVar[Room | None] = contextvars.ContextVar(
  "room", default=None
)


@contextlib.contextmanager
def within(room: Room) -> Iterator[Room]:
  """Makes `room` the one that `fit` asks."""
  token = _ROOM.set(room)
  try:
    yield room
  finally:
    _ROOM.reset(token)


def current() -> Room:
  """Returns the room of the program that is being traced, or an empty one."""
  return _ROOM.get() or Room({})


def fit(name: str, need: tf.Tensor, most: int) -> int:
  """Returns how much room there is for what depends on the data.

  What is larger than its size must be cut to it; the results are then thrown
  away, as the need was noted.

  Args:
    name: of the quantity, the same in each call with the same meaning.
    need: integer scalar.
    most: that it can never exceed, whatever the data.

  Raises:
    CapacityError: eagerly, if the need is too large for memory.
  """
  room = _ROOM.get()
  if room is not None:
    room.note(name, tf.cast(need, tf.int32))
    if name in room.sizes:
      return min(room.sizes[name], most)
  if tf.executing_eagerly():
    return max(1, int(_checked(name, int(need))))
  return max(1, most)


def attempt(name: str, first: int, most: int, function):
  """Returns the result of `function(size)` for a size that is large enough.

  For what can be judged only afterwards. As `fit`, but without headroom: sizes
  are tried one after the other.

  Args:
    name: ends in `EXACT`.
    first: size to try first.
    most: that always suffices.
    function: maps a size to (result, whether it sufficed), the latter a boolean
      scalar tensor.
  """
  room = _ROOM.get()
  if room is not None and name in room.sizes:
    size = min(room.sizes[name], most)
    result, fits = function(size)
    room.note(name, tf.where(fits, size, size + 1))
    return result
  if not tf.executing_eagerly():
    return function(most)[0]
  for size in range(min(first, most), most + 1):
    result, fits = function(size)
    if fits or size == most:
      break
  if room is not None:
    room.note(name, tf.constant(size))
  return result


def repeat(count: int, function, carry, condition=None):
  """Returns `function` applied `count` times to `carry`, in one loop.

  A `tf.while_loop` of your own could not pass on what its body needs. Where
  nothing but the needs is asked for, once is enough.

  Args:
    count: of times.
    function: maps a carry, a structure of tensors, to the next one.
    carry: the first one.
    condition: maps a carry to a boolean scalar, whether to go on; default
      always. With one the loop also ends where the program turns out too small,
      for its results are thrown away.
  """
  room = current()
  if room.measures:
    count = min(count, 1)

  def goes_on(i, carry, needs):
    more = i < count
    if condition is not None:
      more &= condition(carry) & ~room.exceeded_by(needs)
    return more

  def body(i, carry, needs):
    with room.inside_loop() as inner:
      carry = function(carry)
    return i + 1, carry, tf.maximum(needs, inner.needs)

  _, carry, needs = tf.while_loop(
    goes_on, body, (0, carry, room.needs), maximum_iterations=count
  )
  room.needs = needs
  return carry


def measure(function, *args) -> dict[str, int]:
  """Returns what `function(*args)`, called eagerly, needs.

  Loops of `repeat` in it are gone through once.
  """
  with within(Room({}, measures=True)) as room:
    function(*args)
  return needed(room.names, room.needs)


def needed(names: list[str], needs: tf.Tensor) -> dict[str, int]:
  """Returns a room's needs by name, on the host."""
  return dict(zip(names, needs.numpy().tolist(), strict=False))


def with_headroom(needs: Mapping[str, int], share: float) -> dict[str, int]:
  """Returns sizes somewhat above the needs, rounded.

  Args:
    needs: by name.
    share: of the need that is left free. Unused room is computed like the rest,
      too little costs a compilation.

  Raises:
    CapacityError: if one is too large for memory.
  """
  return {
    name: need
    if name.endswith(EXACT)
    else min(_rounded(int(_checked(name, need) * (1 + share)) + 8), LARGEST)
    for name, need in needs.items()
  }


def grown(
  sizes: Mapping[str, int], needs: Mapping[str, int], share: float
) -> dict[str, int]:
  """Returns larger sizes where the needs exceed them; as `with_headroom`."""
  more = {k: v for k, v in needs.items() if v > sizes.get(k, v)}
  return {**sizes, **with_headroom(more, share)}


def _rounded(size):
  unit = 64 if size > 512 else 16
  return -(-size // unit) * unit


def _checked(name, size):
  if size > LARGEST:
    raise CapacityError(
      f"{name.replace('_', ' ')}: {size} are needed and at most {LARGEST} fit; "
      "too many particles are in one place. Take more levels (num_levels), a "
      "smaller batch, or look whether the states have diverged"
    )
  return size
