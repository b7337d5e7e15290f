"""What the hierarchy costs against N, beside fully connected and 15-nn DeltaGN.

  python benchmarks/hierarchy.py [--sizes=100,1000,10000] [--figure=cost.png]

For each graph and size, in a process of its own: building the graph, a forward
pass, a training step, a step of a roll-out that rebuilds the graph
(milliseconds, the median of interleaved turns, all compiled by XLA), the first
call (trace and compilation), and the most memory. Beside them, in the same
process, the float32 matrix product: `share` is the rate of the model's own
products (the edges and cells that there are, first layers split) over that
rate. `plain` is the fully connected model written the obvious way, as a dense
[B, N, N] array.

Then the targets: building against the forward pass, roll-out against forward,
hierarchical against fully connected, 15-nn against `scipy.spatial.cKDTree`, the
exponents of time in N; and training with and without XLA.

For every side alike glibc keeps what it has allocated
(MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=...), worth 1.1 to 1.4 times.
"""

import itertools
import json
import os
import resource
import subprocess
import sys
import time

import numpy as np
import sonnet as snt
import tensorflow as tf
from absl import flags
from interleave import interleave
from scipy.spatial import cKDTree

from nbody_bench import (
  capacity,
  command_line,
  graphs,
  hierarchy,
  networks,
  plugins,
  rollouts,
  testing,
)
from nbody_bench.capacity import Room
from nbody_bench.states import State, Trajectory

_ALLOCATOR = {
  "MALLOC_MMAP_MAX_": "0",
  "MALLOC_TRIM_THRESHOLD_": "100000000000",
}
# What a body has of the box in `nbody_gravity`.
_AREA = 12.0
_TIME_STEP = 0.01
_STEPS = 20
# Largest N of graphs whose cost grows with N^2, in forward and training.
_MOST_QUADRATIC = 1000


def define(values, argv):
  """Defines the flags."""
  del argv
  flags.DEFINE_list(
    "sizes", ["100", "1000", "10000"], "numbers of bodies", flag_values=values
  )
  flags.DEFINE_integer("turns", 7, "measurements", flag_values=values)
  flags.DEFINE_string("figure", None, "to write", flag_values=values)
  flags.DEFINE_string("case", None, "used internally", flag_values=values)


def benchmark(values, rest):
  """Prints a table, the targets and the exponents."""
  del rest
  if values.case:
    kind, n, batch = values.case.split(",")
    case = _measure(kind, int(n), int(batch), values.turns)
    print("CASE " + json.dumps(case), flush=True)
    return
  cases = []
  for n in map(int, values.sizes):
    for kind in ("hierarchical", "nearest", "fully_connected", "plain"):
      batches = sorted({1, max(1, min(10, 4000 // n))})
      if kind in ("fully_connected", "plain"):
        if n > _MOST_QUADRATIC:
          continue
        batches = [1]
      for batch in batches:
        case = _in_a_process(kind, n, batch, values.turns)
        cases.append(case)
        print(_line(case), flush=True)
  _targets(cases)
  if values.figure:
    _draw(cases, values.figure)


def _in_a_process(kind, n, batch, turns):
  command = [sys.executable, __file__, f"--case={kind},{n},{batch}"]
  output = subprocess.run(
    [*command, f"--turns={turns}"],
    env=os.environ | _ALLOCATOR | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    stdout=subprocess.PIPE,
    text=True,
    check=True,
  ).stdout
  (line,) = (x for x in output.splitlines() if x.startswith("CASE "))
  return json.loads(line.removeprefix("CASE "))


def _measure(kind, n, batch, turns):
  """Returns everything about one graph and size, as plain data."""
  model = _model(kind)
  state, particles, domain = testing.to_tensors(
    testing.random_system(batch, n, box_side=(_AREA * n) ** 0.5)
  )
  inputs = state, particles, domain
  dt = tf.constant(_TIME_STEP)
  needs = capacity.measure(model.step, *inputs, dt)
  sizes = capacity.with_headroom(needs, 1 / 16)
  before = _peak_bytes()
  programs, peaks, first = {}, {}, {}
  if kind in _BUILD:
    programs["build"] = (_program(sizes, _BUILD[kind]), inputs)
  programs["forward"] = (_program(sizes, model.step), (*inputs, dt))
  if kind != "plain":
    programs["train"] = (_program(sizes, _training(model)), (_window(inputs),))
  for name, (program, arguments) in programs.items():
    first[name] = _seconds(program, arguments)
    peaks[name] = _peak_bytes() - before
  if kind != "plain":
    predict = rollouts.compiled(model)
    times = tf.constant(_TIME_STEP * np.arange(1, _STEPS + 1), tf.float32)
    programs["roll-out"] = (
      lambda *a: predict(*a).state,
      (*inputs, times),
    )
    first["roll-out"] = _seconds(*programs["roll-out"])
  matrix = tf.random.normal([3000, 3000])
  product = tf.function(lambda x: x @ x, jit_compile=True)
  sides = [_side(p, a) for p, a in programs.values()]
  sides.append(lambda i: product(matrix)[0, 0])
  sides.append(lambda i: (matrix @ matrix)[0, 0])
  if kind == "nearest":
    sides.append(_tree(state, domain))
  seconds = np.median(interleave(sides, calls=1, turns=turns), 1)
  result = dict(zip(programs, seconds.tolist(), strict=False))
  if "roll-out" in result:
    result["roll-out"] /= _STEPS
  rates = seconds[len(programs) : len(programs) + 2]
  return {
    "kind": kind,
    "n": n,
    "batch": batch,
    "seconds": result,
    "first_call": first,
    "peak_bytes": peaks,
    "flop": _work(kind, n, batch, needs),
    "matmul_rate": 2 * 3000**3 / float(min(rates)),
    "tree": float(seconds[-1]) if kind == "nearest" else None,
    "without_xla": _without_xla(kind, model, inputs, sizes, turns),
  }


def _model(kind):
  if kind == "plain":
    return _Plain()
  if kind == "hierarchical":
    module = plugins.load("baselines", "hierarchical_delta_gn")
    return module.Simulator(module.Config(), testing.problem())
  module = plugins.load("baselines", "delta_gn")
  return module.Simulator(module.Config(graph=kind), testing.problem())


class _Plain(snt.Module):
  """DeltaGN over all N^2 pairs, as one would first write it."""

  def __init__(self):
    super().__init__(name="plain")
    self._edge = networks.mlp((150, 150), activate_final=True)
    self._node = networks.mlp((100, 100, 100), activate_final=True)
    self._decoder = networks.mlp((4,))

  def step(self, state, particles, domain, time_step):
    q, v = state
    batch, n, _ = q.shape
    features = tf.concat([particles.mass[..., None], v], -1)
    pair = [batch, n, n, 3]
    edges = tf.concat(
      [
        tf.broadcast_to(features[:, None], pair),
        tf.broadcast_to(features[:, :, None], pair),
        domain.displacement(q[:, :, None], q[:, None]),
        tf.fill([batch, n, n, 1], time_step),
      ],
      -1,
    )
    others = 1 - tf.eye(n)[None, :, :, None]
    received = tf.reduce_sum(self._edge(edges) * others, 2)
    dt = tf.fill([batch, n, 1], time_step)
    nodes = self._node(tf.concat([features, received, dt], -1))
    delta_q, delta_v = tf.split(self._decoder(nodes), 2, -1)
    return State(domain.wrap(q + delta_q), v + delta_v)


_BUILD = {
  "hierarchical": lambda state, *rest: hierarchy.build(state.position, *rest),
  "nearest": lambda *system: graphs.nearest(*system, 15),
}


def _program(sizes, function, jit=True):
  def program(*arguments):
    with capacity.within(Room(sizes)) as room:
      result = function(*arguments)
    return result, room.needs

  return tf.function(program, jit_compile=jit or None, autograph=False)


def _training(model):
  """Returns an optimiser step as a function of a window."""
  variables = model.trainable_variables
  optimizer = snt.optimizers.Adam(1e-9)

  def train(window):
    with tf.GradientTape() as tape:
      loss = model.loss(window)
    optimizer.apply(tape.gradient(loss, variables), variables)
    return loss

  return train


def _window(inputs):
  state, particles, domain = inputs
  following = domain.wrap(state.position + _TIME_STEP * state.velocity)
  states = State(
    tf.stack([state.position, following], 1),
    tf.stack([state.velocity] * 2, 1),
  )
  time = tf.constant([0.0, _TIME_STEP])
  return Trajectory(time, states, particles, domain)


def _side(program, arguments):
  return lambda i: tf.nest.flatten(program(*arguments))[0]


def _seconds(program, arguments):
  began = time.perf_counter()
  np.asarray(tf.nest.flatten(program(*arguments))[0])
  return time.perf_counter() - began


def _tree(state, domain):
  side = float(domain.box[0, 0])
  points = np.mod(state.position.numpy().astype(np.float64), side)

  def query(i):
    for x in points:
      found = cKDTree(x, boxsize=side).query(x, 16)[1]
    return found

  return query


def _without_xla(kind, model, inputs, sizes, turns):
  """Returns seconds of a training step by TensorFlow's own operations."""
  if kind == "plain" or inputs[0].position.shape[1] > _MOST_QUADRATIC:
    return None
  program = _program(sizes, _training(model), jit=False)
  side = _side(program, (_window(inputs),))
  return float(np.median(interleave([side], calls=1, turns=turns)))


def _work(kind, n, batch, needs):
  """Returns FLOP of the products in a forward pass."""

  def layers(rows, *widths):
    pairs = itertools.pairwise(widths)
    return 2 * rows * sum(a * b for a, b in pairs)

  edges = {
    "hierarchical": needs.get("particle_edges", 0),
    "nearest": 15 * n * batch,
  }.get(kind, n * (n - 1) * batch)
  total = layers(edges, 9, 150, 150)
  total += layers(n * batch, 154, 100, 100, 100, 4)
  if kind != "hierarchical":
    return total
  # To cells and back; cell nodes are 103 wide, split over both ends of an edge.
  total += layers(n * batch, 9, 100, 100) + layers(n * batch, 109, 150, 150)
  for name, need in needs.items():
    if name.startswith("level") and name.endswith("edges"):
      total += layers(need, 3, 150, 150)
    elif name.startswith("level"):
      total += 2 * layers(need, 103, 150)  # as sender and as receiver
      total += layers(need, 209, 150, 150) + layers(need, 109, 100, 100)
      total += layers(need, 254, 100, 100, 100)
  return total


def _peak_bytes():
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return peak if sys.platform == "darwin" else 1024 * peak


def _line(case):
  ms = {k: 1e3 * v for k, v in case["seconds"].items()}
  times = ", ".join(f"{k} {v:.2f}" for k, v in ms.items())
  rate = case["matmul_rate"] * case["seconds"]["forward"]
  text = f"{case['kind']} N={case['n']} batch {case['batch']}: {times} ms"
  text += f"; share forward {case['flop'] / rate:.2f}"
  if "train" in ms:
    rate = case["matmul_rate"] * case["seconds"]["train"]
    text += f", train {3 * case['flop'] / rate:.2f}"
  text += f" of {case['matmul_rate'] / 1e9:.0f} GFLOP/s"
  first = ", ".join(f"{k} {v:.1f}" for k, v in case["first_call"].items())
  peaks = case["peak_bytes"].items()
  peaks = ", ".join(f"{k} {v / 2**20:.0f}" for k, v in peaks)
  text += f"; first call {first} s; memory {peaks} MiB"
  if case["without_xla"]:
    text += f"; train without XLA {1e3 * case['without_xla']:.1f} ms"
  if case["tree"]:
    text += f"; cKDTree {1e3 * case['tree']:.2f} ms"
  return text


def _targets(cases):
  """Prints ratios against the targets."""
  for case in cases:
    seconds, name = case["seconds"], f"N={case['n']} batch {case['batch']}"
    if case["kind"] == "hierarchical":
      build = seconds["build"] / seconds["forward"]
      step = seconds["roll-out"] / seconds["forward"]
      print(
        f"{name}: build / forward {build:.3f} (target 0.05 at N=1000 batch 4, "
        f"0.1 at 10,000), roll-out step / forward {step:.3f} (target 1.15)"
      )
    if case["kind"] == "nearest":
      ratio = seconds["build"] / case["tree"]
      print(f"{name}: 15-nn / cKDTree {ratio:.2f} (target 1)")
  of = {(c["kind"], c["n"]): c["seconds"] for c in cases if c["batch"] == 1}
  for n in sorted({c["n"] for c in cases}):
    full, ours = of.get(("fully_connected", n)), of.get(("hierarchical", n))
    if not full or not ours:
      continue
    ratio = full["roll-out"] / ours["roll-out"]
    plain = of["plain", n]["forward"] / full["forward"]
    print(
      f"N={n}: hierarchical rolls out {ratio:.1f} times as fast as fully "
      f"connected (target 10 at N=1000); plain / fully connected {plain:.2f}"
    )
  for kind in ("hierarchical", "nearest", "fully_connected"):
    for part in ("forward", "train", "roll-out"):
      found = sorted((n, s[part]) for (k, n), s in of.items() if k == kind)
      if len(found) > 1:
        print(f"{kind} {part}: time ~ N^{_exponent(found):.2f}")


def _exponent(points):
  """Returns the slope of log time in log N, from N = 1000 on if possible."""
  large = [p for p in points if p[0] >= 1000]
  n, seconds = np.log(large if len(large) > 1 else points).T
  return np.polyfit(n, seconds, 1)[0]


def _draw(cases, path):
  """Writes time against N, both axes logarithmic (the paper's Figure 4)."""
  from matplotlib.figure import Figure

  figure = Figure(figsize=(9, 3.2), layout="constrained")
  for axes, part in zip(
    figure.subplots(1, 3, sharey=True),
    ("forward", "train", "roll-out"),
    strict=True,
  ):
    for kind, marker in (
      ("hierarchical", "o"),
      ("nearest", "s"),
      ("fully_connected", "^"),
    ):
      points = sorted(
        (c["n"], 1e3 * c["seconds"][part])
        for c in cases
        if c["kind"] == kind and c["batch"] == 1
      )
      label = kind.replace("_", " ")
      if len(points) > 1:
        label += f", N^{_exponent(points):.2f}"
      axes.loglog(*zip(*points, strict=True), marker=marker, label=label)
    axes.set_title(f"{part}, batch 1")
    axes.set_xlabel("N")
    axes.legend(fontsize=7)
    axes.grid(alpha=0.3)
  figure.axes[0].set_ylabel("milliseconds a step")
  figure.savefig(path, dpi=110)


if __name__ == "__main__":
  sys.exit(command_line.run(benchmark, define, usage=__doc__))
