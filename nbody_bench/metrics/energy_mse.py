"""Mean squared error of the energy, with the true Hamiltonian."""

from nbody_bench.metrics import Metric, mean


def squared_energy_error(prediction, truth, system):
  """Returns (H(prediction) - H(truth))^2, `[B, T]`."""
  predicted = prediction.at_each_frame(system.hamiltonian)
  return (predicted - truth.at_each_frame(system.hamiltonian)) ** 2


METRIC = Metric(
  label="Energy MSE",
  description=(
    "Mean over trajectories and steps 1..k of (H(predicted) - H(true))^2, H of "
    "the true law (Greydanus et al. 2019; Desai and Roberts 2020). The curve "
    "is that of single steps."
  ),
  function=squared_energy_error,
  cap=1e8,
  reduce=mean,
)
