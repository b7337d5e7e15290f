"""A-MSE: mean squared error of the position over all frames."""

from nbody_bench.metrics import Metric, mean
from nbody_bench.metrics.final_mse import squared_position_error

METRIC = Metric(
  label="A-MSE",
  description=(
    "Mean over trajectories, steps 1..k, particles and the D coordinates of "
    "the squared error of the position (Xu et al. 2024). The curve is that of "
    "single steps."
  ),
  function=squared_position_error,
  cap=1e4,
  reduce=mean,
  floor=lambda truth, label_error, system: 2 * label_error**2,
)
