"""A force model in ASE: oxygen on copper, relaxed.

Any function `(state, particles, domain) -> force` is a force model. This one
holds atoms together by Morse potentials that w takes to zero,

  U = sum_{i<j} w(r) D ((1 - exp(-a (r - r0)))^2 - 1).

It is no good model of either element, but one of what such a file needs. With
`evaluate` it tells energies, too.

  pip install "nbody_bench[ase]"
  python examples/relax_with_ase.py
  python examples/relax_with_ase.py out/forcenet/seed_0

The second command takes a model that the suite has trained, from the seed
folder of its run; the environment variable TFDS_DATA_DIR says where its data
are. Seconds, and about a minute to compile a network.
"""

import sys

import tensorflow as tf

from nbody_bench import ase_calculator
from nbody_bench.states import Forces

# D in eV, a in 1 / Angstrom and r0 in Angstrom: of copper and copper, and of
# copper and oxygen. There is one atom of oxygen.
_METAL, _OXIDE = (0.4, 1.6, 2.6), (1.0, 1.6, 2.1)
_TAPER = 4.0, 5.0  # Angstrom; below half a side of the slab


class Morse:
  """A pair potential, as a force model."""

  def evaluate(self, state, particles, domain):
    """Returns `Forces` of structures `[B, N, 3]`."""
    with tf.GradientTape() as tape:
      tape.watch(state.position)
      energy = self._energy(state.position, particles, domain)
    return Forces(-tape.gradient(energy, state.position), energy)

  def __call__(self, state, particles, domain):
    """Returns the force `[B, N, 3]`."""
    return self.evaluate(state, particles, domain).force

  def _energy(self, q, particles, domain):
    d = domain.displacement(q[:, :, None], q[:, None])
    # No atom acts on itself: it is taken to be out of reach.
    far = 100 * tf.eye(q.shape[1], dtype=q.dtype)
    r = tf.sqrt(tf.reduce_sum(d * d, -1) + far)
    metal = particles.species == 29
    both = metal[:, :, None] & metal[:, None]
    depth, rate, rest = (
      tf.where(both, *x) for x in zip(_METAL, _OXIDE, strict=True)
    )
    pair = depth * ((1 - tf.exp(-rate * (r - rest))) ** 2 - 1)
    inner, outer = _TAPER
    x = tf.clip_by_value((r - inner) / (outer - inner), 0, 1)
    taper = 1 - x * x * (3 - 2 * x)
    return 0.5 * tf.reduce_sum(taper * pair, [1, 2])


def slab():
  """Returns ASE's atoms: three layers, two of them fixed, and one of oxygen."""
  from ase.build import add_adsorbate, fcc100
  from ase.constraints import FixAtoms

  atoms = fcc100("Cu", size=(4, 4, 3), vacuum=8.0)
  atoms.set_constraint(FixAtoms(mask=atoms.get_tags() > 1))
  add_adsorbate(atoms, "O", height=1.2, position="hollow", offset=(0.1, 0.0))
  return atoms


def relax(model):
  """Returns the atoms, relaxed by ASE with a model or a run's folder."""
  calculator = ase_calculator.Calculator(model)
  from ase.optimize import LBFGS

  atoms = slab()
  atoms.calc = calculator
  LBFGS(atoms).run(fmax=0.01, steps=200)
  return atoms


def main(arguments):
  """Relaxes, and says how far the oxygen is from its neighbours."""
  atoms = relax(*arguments) if arguments else relax(Morse())
  distances = sorted(atoms.get_distances(-1, range(len(atoms) - 1), mic=True))
  print("Cu-O:", ", ".join(f"{x:.3f}" for x in distances[:4]), "Angstrom")


if __name__ == "__main__":
  main(sys.argv[1:])
