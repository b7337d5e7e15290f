"""Says whether this machine can run the suite: `python -m nbody_bench.doctor`.

One line a finding: `ok`, `warn` for what may matter, `FAIL` with the mend for
what must be mended. The exit code is 0 if nothing fails, else 1.

Packages are imported by their check, so that a missing one is a finding and not
a crash. Where one is missing that `import nbody_bench` needs itself (NumPy,
Numba, absl, tqdm, TFDS), Python says so before the doctor can.
"""

import collections
import dataclasses
import importlib
import importlib.metadata
import os
import pathlib
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator

from absl import flags

import nbody_bench
from nbody_bench import command_line, plugins

# What is imported: what to install. As in setup.py, where the versions are.
REQUIRED = {
  "tensorflow": "tensorflow",
  "keras": "keras",  # comes with tensorflow
  "sonnet": "dm-sonnet",
  "graph_nets": "graph-nets",
  "tensorflow_datasets": "tensorflow-datasets",
  "numpy": "numpy",
  "numba": "numba",
  "scipy": "scipy",
  "absl": "absl-py",
  "importlib_resources": "importlib_resources",
  "jsonschema": "jsonschema",
  "tensorboard": "tensorboard",
  "tqdm": "tqdm",
}
# Which of them cannot be imported without which others.
_NEEDS = {
  "keras": {"tensorflow"},
  "sonnet": {"tensorflow"},
  "graph_nets": {"tensorflow", "sonnet"},
}
_GIB = 2**30
_LOW_DISK = 5 * _GIB
_LOW_MEMORY = 4 * _GIB


@dataclasses.dataclass(frozen=True)
class Finding:
  """One line of the report.

  Attributes:
    level: "ok", "warn" or "FAIL".
    text: what was found.
    mend: what to do about it; "" if it is fine.
  """

  level: str
  text: str
  mend: str = ""

  def __str__(self):
    line = f"{self.level:<5} {self.text}"
    return f"{line}; {self.mend}" if self.mend else line


Findings = Iterator[Finding]


def required_packages(data_dir: pathlib.Path) -> Findings:
  """Imports what the suite cannot do without."""
  del data_dir
  yield Finding("ok", f"Python {platform.python_version()} ({sys.executable})")
  yield Finding(
    "ok", f"nbody_bench {nbody_bench.__version__} ({nbody_bench.__path__[0]})"
  )
  failed: set[str] = set()
  for module, package in REQUIRED.items():
    if unmet := failed & _NEEDS.get(module, set()):
      yield Finding("warn", f"{module} not tried: it needs {min(unmet)}")
      continue
    try:
      if module == "tensorflow":
        command_line.import_tensorflow()
      importlib.import_module(module)
    except Exception as error:  # a broken package raises what it likes
      failed.add(module)
      is_there = _installed_version(package) is not None
      yield Finding(
        "FAIL",
        f"{module} cannot be imported ({_one_line(error)})",
        f"pip install {'--force-reinstall ' if is_there else ''}{package}",
      )
    else:
      version = _installed_version(package) or getattr(
        sys.modules[module], "__version__", "of unknown version"
      )
      yield Finding("ok", f"{module} {version}")


def optional_packages(data_dir: pathlib.Path) -> Findings:
  """Looks for the packages of the extras of setup.py."""
  del data_dir
  try:
    requirements = importlib.metadata.requires("nbody_bench") or []
  except importlib.metadata.PackageNotFoundError:
    yield Finding(
      "warn",
      "nbody_bench is not installed but runs from its folder",
      "pip install -e . in there makes it known everywhere",
    )
    return
  missing = collections.defaultdict(list)
  for requirement in requirements:
    found = re.match(r"([\w.-]+).*extra == .(\w+)", requirement)
    if found and _installed_version(found[1]) is None:
      missing[found[2]].append(found[1])
  for extra, packages in missing.items():
    yield Finding(
      "warn",
      f"optional {', '.join(packages)} not installed",
      f'pip install "nbody_bench[{extra}]"',
    )


def machine(data_dir: pathlib.Path) -> Findings:
  """Reports cores and memory."""
  del data_dir
  total, available = _memory()
  text = (
    f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
    f"{available / _GIB:.1f} of {total / _GIB:.1f} GiB memory free"
  )
  if available < _LOW_MEMORY:
    yield Finding("warn", text, "lower --batch_size and --eval_batch_size")
  else:
    yield Finding("ok", text)


def folders(data_dir: pathlib.Path) -> Findings:
  """Looks whether data and results can be written, and how much of them."""
  places = {"data": data_dir, "working": pathlib.Path.cwd()}
  for name, folder in places.items():
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    try:
      with tempfile.TemporaryFile(dir=existing):
        pass
    except OSError as error:
      yield Finding(
        "FAIL",
        f"{name} folder {folder} cannot be written ({error.strerror})",
        "choose another with --data_dir or TFDS_DATA_DIR"
        if name == "data"
        else "change to another",
      )
      continue
    free = shutil.disk_usage(existing).free
    text = f"{name} folder {folder}: {free / _GIB:.1f} GiB free"
    if free < _LOW_DISK:
      yield Finding("warn", text, "large data sets will not fit")
    else:
      yield Finding("ok", text)


def devices(data_dir: pathlib.Path) -> Findings:
  """Reports what TensorFlow computes on."""
  del data_dir
  import tensorflow as tf

  from nbody_bench import timing

  yield Finding("ok", f"CPU: {timing.cpu_model()}")
  gpus = tf.config.list_physical_devices("GPU")
  for gpu in gpus:
    details = tf.config.experimental.get_device_details(gpu)
    yield Finding("ok", f"GPU: {details.get('device_name', gpu.name)}")
  if not gpus and pathlib.Path("/proc/driver/nvidia/version").exists():
    yield Finding(
      "warn",
      "this machine has an NVIDIA GPU that TensorFlow does not see",
      'pip install "tensorflow[and-cuda]"',
    )
  elif not gpus:
    yield Finding("ok", "GPU: none, all runs on the CPU")


def xla(data_dir: pathlib.Path) -> Findings:
  """Compiles a small program."""
  del data_dir
  import tensorflow as tf

  began = time.perf_counter()
  square_sum = tf.function(
    lambda x: tf.reduce_sum(x * x), jit_compile=True, autograph=False
  )
  result = float(square_sum(tf.range(4.0)))
  yield _judge(
    result == 14,
    f"XLA compiles: 0 + 1 + 4 + 9 = {result:g}{_since(began)}",
    "pip install --force-reinstall tensorflow",
  )


def simulation(data_dir: pathlib.Path) -> Findings:
  """Integrates two small systems and looks at what must not change."""
  del data_dir
  import numpy as np

  from nbody_bench import simulation, solvers, testing

  began = time.perf_counter()
  truth = simulation.simulate(
    testing.GRAVITY,
    *testing.random_system(box_side=np.inf),
    times=0.01 * np.arange(51),
    solver=solvers.FixedSteps(20),
  )
  drift = simulation.drifts(testing.GRAVITY, truth)["energy_drift"].max()
  yield _judge(
    drift < 2e-4,  # 2.5e-5 measured
    f"ground truth: energy drifts by {drift:.1e}{_since(began)}",
    "pip install --force-reinstall numba",
  )


def training_and_roll_out(data_dir: pathlib.Path) -> Findings:
  """Trains a small DeltaGN for a step and rolls it out."""
  del data_dir
  import numpy as np
  import sonnet as snt
  import tensorflow as tf

  from nbody_bench import rollouts, testing

  began = time.perf_counter()
  tf.random.set_seed(0)
  plugin = plugins.load_model("delta_gn")
  config = plugin.config(edge_widths=(8, 8), node_widths=(8,))
  network = plugin.build(config, testing.problem())
  systems = testing.trajectory(num_frames=2, box_side=np.inf)
  window = testing.to_tensors(systems)
  optimizer = snt.optimizers.Adam(1e-3)
  network.loss(window)  # makes the variables

  @tf.function
  def update():
    with tf.GradientTape() as tape:
      loss = network.loss(window)
    variables = network.trainable_variables
    optimizer.apply(tape.gradient(loss, variables), variables)
    return loss

  before, after = float(update()), float(update())
  yield _judge(
    after < before,
    f"training: one step takes the loss from {before:.4g} to {after:.4g}"
    f"{_since(began)}",
    "pip install --force-reinstall dm-sonnet graph-nets tensorflow",
  )

  began = time.perf_counter()
  start = (systems.frame(0), systems.particles, systems.domain)
  times = 0.01 * np.arange(1, 6)
  eager, compiled = (
    rollouts.rollout(predict, *start, times).state
    for predict in (network.predict, rollouts.compiled(network))
  )
  gap = max(
    float(np.max(np.abs(x - y))) for x, y in zip(eager, compiled, strict=True)
  )
  yield _judge(
    gap < 1e-4,
    f"roll-out: compiled and plain differ by {gap:.1e}{_since(began)}",
    "pip install --force-reinstall tensorflow",
  )


CHECKS = (
  required_packages,
  optional_packages,
  machine,
  folders,
  devices,
  xla,
  simulation,
  training_and_roll_out,
)


def findings(data_dir: pathlib.Path) -> Findings:
  """Yields the findings of all checks; one that breaks down fails.

  Args:
    data_dir: where data sets are kept.
  """
  failed = False
  for check in CHECKS:
    name = check.__name__.replace("_", " ")
    try:
      for finding in check(data_dir):
        failed |= finding.level == "FAIL"
        yield finding
    except Exception as error:
      if failed and isinstance(error, ImportError):
        yield Finding("warn", f"{name} not tried: a package is missing")
      else:
        yield Finding(
          "FAIL",
          f"{name} broke down ({_one_line(error)})",
          "report this line with those above",
        )


def define(values, argv):
  """Defines the flags."""
  del argv
  flags.DEFINE_string(
    "data_dir", None, "where TFDS keeps its data", flag_values=values
  )


def report(values, rest):
  """Prints the findings; returns the exit code."""
  if rest:
    raise ValueError(f"arguments not understood: {' '.join(rest)}")
  failures = 0
  for finding in findings(_data_dir(values.data_dir)):
    print(finding, flush=True)
    failures += finding.level == "FAIL"
  print(f"{failures} to mend" if failures else "all is well")
  return min(failures, 1)


def main(argv=None):
  """Entry point; returns the exit code."""
  return command_line.run(report, define, argv, __doc__, needs_tensorflow=False)


def _data_dir(text):
  # The default of TFDS, which may be what cannot be imported.
  default = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
  return pathlib.Path(text or default).expanduser().absolute()


def _installed_version(package):
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return None


def _memory():
  """Returns total and free bytes; what caches hold counts as free."""
  total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
  try:
    lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
  except OSError:
    return total, total
  fields = dict(line.split(":") for line in lines)
  return total, int(fields["MemAvailable"].split()[0]) * 1024


def _judge(is_right, text, mend):
  return Finding("ok", text) if is_right else Finding("FAIL", text, mend)


def _since(began):
  return f" ({time.perf_counter() - began:.1f} s)"


def _one_line(error):
  reason = str(error).strip().partition("\n")[0]
  return f"{type(error).__name__}: {reason}"


if __name__ == "__main__":
  sys.exit(main())
