"""Mean absolute error of the angular momentum."""

from nbody_bench.metrics import Metric, mean
from nbody_bench.metrics.angular_momentum_error import (
  angular_momentum_difference,
)

METRIC = Metric(
  label="Angular momentum MAE",
  description=(
    "Mean over trajectories and steps 1..k of |L(predicted) - L(true)|, "
    "L = sum q x m v, each position taken as the image nearest to the true one "
    "(momentum-conserving Lagrangian networks, 2021)."
  ),
  function=angular_momentum_difference,
  cap=1e4,
  reduce=mean,
)
