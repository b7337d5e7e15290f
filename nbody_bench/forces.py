"""Models of forces: a structure in, the force on each particle out.

A force model is `(state, particles, domain) -> force` (see `simulators`); the
learned ones subclass `LearnedForce` (forces are the output) or `LearnedEnergy`
(forces are minus the gradient of an energy), and define one method on `Inputs`,
the radius graph with all that a network may be told of it.

Where the data tell forces (`Trajectory.force`) these are what is learned, of
what moves in units of its motion. Of the n-body data it is accelerations, by
the true law; the third coordinate is 0,
radii are 0, and mass and charge are the features. There a force model in an
integrator is a simulator like any other.
"""

import abc
import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np
import sonnet as snt
import tensorflow as tf

from nbody_bench import elements, integrators, radius_graphs, training_mode
from nbody_bench.arrays import Array
from nbody_bench.problems import Problem
from nbody_bench.simulators import ForceSimulator
from nbody_bench.states import (
  FIXED,
  Domain,
  Forces,
  Particles,
  State,
  Trajectory,
)
from nbody_bench.systems import safe_mass


class Inputs(NamedTuple):
  """A batch of structures as one graph, in three dimensions.

  Rows are the B N particles of the batch and one of padding after them, which
  unused edges point at.

  Attributes:
    features: `[rows, F]`: nine properties of an element, each in [0, 1]; of
      n-body data mass and charge.
    species: `[rows]` atomic numbers, 0 for padding and where there are none.
    radius: `[rows]`, of the atoms, 0 where there are none.
    sample: `[rows]`, which structure; B for padding.
    real: `[rows]`, 1 for a particle and 0 for padding.
    senders: `[E]` rows.
    receivers: `[E]` rows, ascending.
    edge: `[E]`, 1 for an edge and 0 for an unused one.
    vector: `[E, 3]`, from receiver to (the image of) the sender.
    distance: `[E]`, its length; the cutoff for an unused edge.
    batch: B, a Python number.
  """

  features: Array
  species: Array
  radius: Array
  sample: Array
  real: Array
  senders: Array
  receivers: Array
  edge: Array
  vector: Array
  distance: Array
  batch: int

  def sum_received(self, values: Array) -> Array:
    """Returns the sums of `[E, F]` over each row's edges, `[rows, F]`."""
    values = values * self.edge[:, None]
    return tf.math.unsorted_segment_sum(
      values, self.receivers, self.real.shape[0]
    )


@dataclasses.dataclass(frozen=True)
class Settings:
  """What all force models have in common.

  Attributes:
    cutoff: radius of the graph, a length.
    max_neighbours: senders of one particle, the nearest; see `radius_graphs`.
    fixed_weight: of an atom with the tag "fixed" in the loss; others count 1.
    energy_weight: of the error of the energy per atom in the loss; of
      structures alone, not of what moves.
    rotate: whether structures are turned about the surface normal, at random,
      in training; likewise.
    integrator: a row of `integrators.INTEGRATORS`, where motion is asked for.
    num_substeps: of it from frame to frame.
  """

  cutoff: float = 6.0
  max_neighbours: int = 50
  fixed_weight: float = 0.05
  energy_weight: float = 0.0
  rotate: bool = False
  integrator: str = "leapfrog"
  num_substeps: int = 1

  def __post_init__(self):
    if not self.cutoff > 0 or self.max_neighbours < 1:
      raise ValueError(
        f"cutoff is {self.cutoff} and max_neighbours {self.max_neighbours}; "
        "both must be positive"
      )
    if self.integrator not in integrators.INTEGRATORS:
      raise ValueError(
        f"integrator {self.integrator!r} is not one of "
        f"{', '.join(integrators.INTEGRATORS)}"
      )


class LearnedForce(snt.Module, abc.ABC):
  """Base class of networks whose output are forces."""

  window_length = 1

  def __init__(self, settings: Settings, problem: Problem, name: str):
    """Takes scales from the data.

    Args:
      settings: of the model.
      problem: statistics with "force_std" say that structures are not moved
        by what forces are asked for.
      name: of the module.

    Raises:
      ValueError: if neither the data nor the law tell forces.
    """
    super().__init__(name=name)
    self.settings = settings
    self.problem = problem
    told = problem.statistics
    self.has_labels = "force_std" in told
    if self.has_labels:
      self.force_scale = told["force_std"]
      self.energy_scale, self.energy_shift = (
        told["energy_std"],
        told["energy_mean"],
      )
    else:
      if problem.force_unit is None:
        problem.known_law(
          name,
          "use a model of motion, such as egnn, or data that carry forces and "
          "state their unit (force_unit in the metadata)",
        )
      self.force_scale = told["velocity_increment_std"] / problem.time_step
      self.energy_scale, self.energy_shift = self.force_scale, 0.0

  @abc.abstractmethod
  def forces(self, inputs: Inputs) -> tuple[Array, Array | None]:
    """Returns forces in units of `force_scale`, and energies.

    Args:
      inputs: see `Inputs`.

    Returns:
      Forces `[rows, 3]` (padding is ignored) and, in units of `energy_scale`
      and shifted by `energy_shift`, energies of the structures `[B + 1]`, the
      last one of padding; None of a model that has none.
    """

  def evaluate(
    self, state: State, particles: Particles, domain: Domain
  ) -> Forces:
    """Returns forces and energies of `[B, N, D]` in the units of the data."""
    batch, n, num_dims = state.position.shape
    force, energy = self.forces(self.inputs(state, particles, domain))
    force = tf.reshape(force[:-1, :num_dims], [batch, n, num_dims])
    force *= self.force_scale
    if not self.has_labels:
      force *= safe_mass(particles)
    if particles.mask is not None:
      force *= particles.mask[..., None]
    if energy is None:
      energy = tf.fill([batch], math.nan)
    else:
      energy = energy[:-1] * self.energy_scale + self.energy_shift
    return Forces(force, energy)

  def __call__(
    self, state: State, particles: Particles, domain: Domain
  ) -> Array:
    """Returns the force `[B, N, D]`: this is a `simulators.ForceModel`."""
    return self.evaluate(state, particles, domain).force

  def inputs(
    self, state: State, particles: Particles, domain: Domain
  ) -> Inputs:
    """Returns the radius graph and the features of its nodes."""
    position, domain = _in_space(state.position, domain)
    graph = radius_graphs.build(
      position,
      particles,
      domain,
      self.settings.cutoff,
      self.settings.max_neighbours,
    )
    vector = radius_graphs.vectors(position, graph)
    squared = tf.reduce_sum(vector**2, -1)
    used = graph.edge > 0
    # The root of an unused edge must have a gradient; atoms in one place too.
    squared = tf.where(used, squared, self.settings.cutoff**2)
    distance = tf.sqrt(tf.maximum(squared, 1e-12))
    batch, n, _ = position.shape
    real = tf.ones([batch, n]) if particles.mask is None else particles.mask
    sample = tf.broadcast_to(tf.range(batch)[:, None], [batch, n])
    sample = tf.where(real > 0, sample, batch)
    if particles.species is None:
      species = tf.zeros([batch, n], tf.int32)
      charge = particles.charge
      constants = [particles.mass, *([] if charge is None else [charge])]
      features = tf.stack(constants, -1)
      radius = tf.zeros([batch, n])
    else:
      species = tf.cast(particles.species, tf.int32)
      features = tf.gather(tf.constant(elements.FEATURES, tf.float32), species)
      radius = tf.gather(tf.constant(elements.RADII, tf.float32), species)
    dtype = position.dtype
    return Inputs(
      features=tf.cast(_rows(features, 0), dtype),
      species=_rows(species, 0),
      radius=tf.cast(_rows(radius, 0), dtype),
      sample=_rows(sample, batch),
      real=tf.cast(_rows(real, 0), dtype),
      senders=graph.senders,
      receivers=graph.receivers,
      edge=graph.edge,
      vector=vector,
      distance=distance,
      batch=batch,
    )

  def loss(self, window: Trajectory) -> Array:
    """Returns the mean absolute error of the forces of a `[B, 1]` window.

    Over components and atoms, weighted by `fixed_weight`; with the error of the
    energies per atom where those have a weight.
    """
    if self.settings.rotate and self.has_labels and training_mode.is_training():
      window = _turned(window)
    state, particles, domain = window.frame(0), window.particles, window.domain
    found = self.evaluate(state, particles, domain)
    scale = self.force_scale
    if not self.has_labels:
      scale *= safe_mass(particles)
    if window.force is None:
      target = self.problem.system.force(state, particles, domain)
    else:
      target = window.force[:, 0] * (self.problem.force_unit or 1.0)
    error = tf.reduce_mean(tf.abs(found.force - target) / scale, -1)
    weight = tf.ones_like(error)
    if particles.tag is not None:
      fixed = particles.tag == FIXED
      weight = tf.where(fixed, self.settings.fixed_weight, weight)
    if particles.mask is not None:
      weight *= particles.mask
    loss = tf.reduce_sum(error * weight) / tf.reduce_sum(weight)
    energies = window.potential_energy if self.has_labels else None
    if self.settings.energy_weight and energies is not None:
      apart = tf.abs(found.potential_energy - energies[:, 0])
      count = tf.ones_like(weight) if particles.mask is None else particles.mask
      count = tf.reduce_sum(count, 1)
      loss += self.settings.energy_weight * tf.reduce_mean(
        apart / (count * self.energy_scale)
      )
    return loss

  def predict(self, state, particles, domain, times):
    """See `simulators.Simulator`: motion under these forces."""
    return ForceSimulator(
      self,
      integrators.INTEGRATORS[self.settings.integrator],
      self.settings.num_substeps,
    ).predict(state, particles, domain, times)


class LearnedEnergy(LearnedForce):
  """Base class of networks whose output is an energy."""

  @abc.abstractmethod
  def energies(self, inputs: Inputs) -> Array:
    """Returns the energy of each row, `[rows]`, in units of `energy_scale`.

    A function of `inputs.vector` and `inputs.distance`, which gradients are
    taken by: of the latter through `distances`.
    """

  def forces(self, inputs):
    """See base class."""
    with tf.GradientTape() as tape:
      tape.watch(inputs.vector)
      squared = tf.reduce_sum(inputs.vector**2, -1)
      squared = tf.where(inputs.edge > 0, squared, self.settings.cutoff**2)
      distance = tf.sqrt(tf.maximum(squared, 1e-12))
      each = self.energies(inputs._replace(distance=distance)) * inputs.real
      total = tf.reduce_sum(each)
    pull = tape.gradient(total, inputs.vector) * inputs.edge[:, None]
    rows = inputs.real.shape[0]
    # A vector is the sender's place less the receiver's.
    force = tf.math.unsorted_segment_sum(pull, inputs.receivers, rows)
    force -= tf.math.unsorted_segment_sum(pull, inputs.senders, rows)
    energy = tf.math.unsorted_segment_sum(each, inputs.sample, inputs.batch + 1)
    return force * (self.energy_scale / self.force_scale), energy


def require(model: Any) -> None:
  """Raises ValueError for a model, or a class of them, without forces."""
  kind = model if isinstance(model, type) else type(model)
  # Every class is callable, so the instances' `__call__` is looked for.
  is_callable = any("__call__" in vars(k) for k in kind.__mro__)
  if not (hasattr(model, "evaluate") or is_callable):
    raise ValueError(
      f"{kind.__module__} predicts motion, and the task asks for forces; take "
      "a force model, such as schnet, or another task"
    )


@dataclasses.dataclass(frozen=True)
class Evaluator:
  """A force model where frames are asked for: forces of the given structure.

  Raises:
    ValueError: if the model tells no forces, but motion alone.
  """

  model: Any

  def __post_init__(self):
    require(self.model)

  @property
  def compilable(self) -> bool:
    """Whether XLA can compile it."""
    return getattr(self.model, "compilable", True)

  def predict(self, state, particles, domain, times):
    """Returns a `Trajectory` whose one frame is `Forces`."""
    evaluate = getattr(self.model, "evaluate", None)
    if evaluate is not None:
      found = evaluate(state, particles, domain)
    else:
      force = self.model(state, particles, domain)
      found = Forces(force, tf.fill(force.shape[:1], math.nan))
    frames = Forces(*(x[:, None] for x in found))
    return Trajectory(times, frames, particles, domain)


def _in_space(position, domain):
  """Returns positions and domain with coordinates of 0 up to three."""
  more = 3 - position.shape[-1]
  if not more:
    return position, domain
  position = tf.pad(position, [[0, 0], [0, 0], [0, more]])
  box = tf.pad(domain.box, [[0, 0], [0, more]], constant_values=np.inf)
  return position, Domain(box)


def _rows(values, padding):
  flat = tf.reshape(values, [-1, *values.shape[2:]])
  widths = [[0, 1], *[[0, 0]] * (flat.shape.rank - 1)]
  return tf.pad(flat, widths, constant_values=padding)


def _turned(window):
  """Returns a window turned about the third axis by random angles."""
  batch = window.domain.box.shape[0]
  angle = tf.random.get_global_generator().uniform([batch], 0, 2 * math.pi)
  cos, sin = tf.cos(angle), tf.sin(angle)
  zero, one = tf.zeros_like(cos), tf.ones_like(cos)
  rows = [[cos, sin, zero], [-sin, cos, zero], [zero, zero, one]]
  turn = tf.stack([tf.stack(row, -1) for row in rows], -2)  # x @ turn

  def turned(x):
    # Not by `@`, which on some devices rounds to ten bits.
    shape = [batch, *[1] * (x.shape.rank - 2), 3, 3]
    return tf.reduce_sum(x[..., None] * tf.reshape(turn, shape), -2)

  return window._replace(
    state=State(*map(turned, window.state)),
    force=turned(window.force),
    domain=window.domain._replace(cell=turned(window.domain.lattice())),
  )
