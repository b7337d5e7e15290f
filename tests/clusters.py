"""Clusters of atoms whose best energies are published, and their law.

Energies: Hoare and Pal (1971), in the Cambridge Cluster Database.
"""

import itertools

import numpy as np
import tensorflow as tf

from nbody_bench.states import Domain, Forces, Particles, State

ENERGIES = {7: -16.505384, 13: -44.326801}


class LennardJones:
  """U = 4 (r^-12 - r^-6) of each pair, as a force model."""

  def evaluate(self, state, particles, domain):
    with tf.GradientTape() as tape:
      tape.watch(state.position)
      energy = tf.reduce_sum(self.pairs(state.position, particles, domain), 1)
    return Forces(-tape.gradient(energy, state.position), energy)

  def __call__(self, state, particles, domain):
    return self.evaluate(state, particles, domain).force

  def pairs(self, q, particles, domain):
    i, j = np.triu_indices(q.shape[1], 1)
    d = domain.displacement(tf.gather(q, i, axis=1), tf.gather(q, j, axis=1))
    inverse = tf.reduce_sum(d**2, -1) ** -3
    energy = 4 * (inverse**2 - inverse)
    if particles.mask is not None:
      mask = particles.mask
      energy *= tf.gather(mask, i, axis=1) * tf.gather(mask, j, axis=1)
    return energy


def shape(num_atoms):
  """Returns positions near the best cluster: rings of five, capped."""
  if num_atoms == 7:
    angle = 2 * np.pi * np.arange(5) / 5
    ring = np.stack([np.cos(angle), np.sin(angle), 0 * angle], -1)
    return 0.95 * np.concatenate([ring, [[0, 0, 0.6], [0, 0, -0.6]]])
  golden = (1 + 5**0.5) / 2
  corners = [
    np.roll([0, a, b * golden], k)
    for a, b, k in itertools.product((1, -1), (1, -1), range(3))
  ]
  return 1.1 * np.array([[0, 0, 0], *corners]) / np.hypot(1, golden)


def batch(sizes, noise=0.1, seed=0, most=13):
  """Returns clusters in open space, padded, in float64.

  Padding is in the midst of them.
  """
  rng = np.random.default_rng(seed)
  position = rng.normal(scale=0.3, size=(len(sizes), most, 3))
  mask = np.zeros((len(sizes), most))
  for b, n in enumerate(sizes):
    position[b, :n] = shape(n) + rng.normal(scale=noise, size=(n, 3))
    mask[b, :n] = 1
  particles = Particles(np.ones_like(mask), mask=mask)
  domain = Domain(np.full((len(sizes), 3), np.inf))
  return State(position, np.zeros_like(position)), particles, domain
