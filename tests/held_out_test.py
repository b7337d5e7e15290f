"""What trainings are judged by as they go: how many systems, and how far."""

import numpy as np
import pytest

from nbody_bench import held_out, pipelines, plugins, testing
from nbody_bench.predictions import KINDS
from nbody_bench.states import State
from nbody_bench.tasks import Task


def _validated(speed, num_particles, frames=(), batch_size=0):
  """Returns what is seen of free flight for 0.7 of each time step of 1.

  And the numbers of systems of the calls.
  """
  data = testing.trajectory(
    num_frames=3,
    time_step=1.0,
    batch=len(speed),
    num_particles=num_particles,
    box_side=np.inf,
  )
  velocity = np.zeros_like(data.state.velocity)
  velocity[..., 0] = speed[:, None, None]
  start = data.state.position[:, :1]
  position = start + data.time[:, None, None] * velocity
  data = data._replace(state=State(position, velocity))
  split = pipelines.Split(np.arange(len(speed)), data, np.zeros(position.shape))
  task = Task(
    dataset="nbody_charged/published",
    version="1.0.0",
    split="validation",
    num_trajectories=len(speed),
    num_steps=1,
    report_steps=(1,),
    metrics=("final_mse",),
    frames=frames,
  )
  plugin = plugins.load_model("linear_dynamics")
  model = plugin.build(plugin.config(), testing.problem())
  predictor = KINDS["motion"].predictor(model)
  calls = set()
  model.loss = _counted(model.loss, lambda window: window.state, calls)
  predictor.predict = _counted(predictor.predict, lambda *x: x[0], calls)
  validate = held_out.validator(
    model, predictor, "motion", task.cut(split), task, batch_size=batch_size
  )
  return validate(), calls


def _counted(function, state_of, calls):
  def counted(*arguments):
    calls.add(state_of(*arguments).position.shape[0])
    return function(*arguments)

  return counted


def test_all_systems_count_where_one_call_predicts_a_system():
  """Also the last of 1500, who alone moves."""
  speed = np.zeros(1500)
  speed[-1] = 10.0
  values, calls = _validated(speed, num_particles=5, frames=(0, 1))
  assert max(calls) == 1500
  # The first chooses a checkpoint.
  assert list(values) == ["final_mse_1", "loss"]
  error = 3.0**2 / 1500 / 2  # of two coordinates
  assert values["final_mse_1"] == pytest.approx(error, rel=1e-4)
  assert values["loss"] > 0
  few, calls = _validated(speed, 5, (0, 1), batch_size=500)
  assert max(calls) == 500
  assert few["final_mse_1"] == pytest.approx(error, rel=1e-4)
  assert few["loss"] == pytest.approx(values["loss"], rel=1e-3)


@pytest.mark.parametrize("at_rest", [19, 20])
def test_of_many_bodies_the_first_systems_are_rolled_out(at_rest):
  """As many as have together 40,000 bodies times steps."""
  speed = np.r_[np.zeros(at_rest), np.ones(5)]
  values, _ = _validated(speed, num_particles=1000)
  assert list(values) == ["loss", "rollout_rmse_2"]
  assert (values["rollout_rmse_2"] > 1e-3) == (at_rest < 20)
