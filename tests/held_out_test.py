"""What trainings are judged by as they go: how many systems, and how far."""

import numpy as np
import pytest

from nbody_bench import held_out, pipelines, plugins, testing
from nbody_bench.predictions import KINDS
from nbody_bench.states import State
from nbody_bench.tasks import Task


def _validated(speed, num_particles, frames=()):
  """Returns what is seen of free flight for 0.7 of each time step of 1."""
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
  split = task.cut(split)
  return held_out.validator(model, predictor, "motion", split, task)()


def test_all_systems_count_where_one_call_predicts_a_system():
  """Also the last of 1500, who alone moves."""
  speed = np.zeros(1500)
  speed[-1] = 10.0
  values = _validated(speed, num_particles=5, frames=(0, 1))
  assert set(values) == {"loss", "final_mse_1"}
  error = 3.0**2 / 1500 / 2  # of two coordinates
  assert values["final_mse_1"] == pytest.approx(error, rel=1e-4)
  assert values["loss"] > 0


@pytest.mark.parametrize("at_rest", [19, 20])
def test_of_many_bodies_the_first_systems_are_rolled_out(at_rest):
  """As many as have together 40,000 bodies times steps."""
  speed = np.r_[np.zeros(at_rest), np.ones(5)]
  values = _validated(speed, num_particles=1000)
  assert set(values) == {"loss", "rollout_rmse_2"}
  assert (values["rollout_rmse_2"] > 1e-3) == (at_rest < 20)
