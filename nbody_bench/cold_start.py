"""The cold time of a model: trace, compile and run, each in a new process."""

import concurrent.futures
import multiprocessing
import time
from typing import Any


def measure(
  model: str,
  config: dict[str, Any],
  dataset: str,
  data_dir: str | None,
  num_steps: int,
  repeats: int = 3,
) -> list[float]:
  """Returns seconds from the built model to its first roll-out.

  Args:
    model: as on the command line.
    config: fields of its `Config`.
    dataset: `name/config`, prepared.
    data_dir: where TFDS keeps its data.
    num_steps: of the roll-out, one system.
    repeats: each in a process of its own.
  """
  context = multiprocessing.get_context("spawn")
  seconds = []
  for _ in range(repeats):
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
      job = pool.submit(_once, model, config, dataset, data_dir, num_steps)
      seconds.append(job.result())
  return seconds


def _once(model, config, dataset, data_dir, num_steps):
  from nbody_bench import pipelines, plugins, simulators, timing

  problem = pipelines.problem(dataset, data_dir)
  truth = pipelines.load(dataset, "test", data_dir, 1)
  truth = truth.after(problem.num_context_frames).given
  plugin = plugins.load_model(model)
  built = plugin.build(plugin.config(**config), problem)
  simulator = simulators.as_simulator(built)
  clock = timing.Clock(
    simulator, truth, truth.time[1 : num_steps + 1] - truth.time[0]
  )
  began = time.perf_counter()
  clock.time(*clock.new_state())
  return time.perf_counter() - began
