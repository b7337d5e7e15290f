"""Equivariant models: agreement with the references, counts, symmetries."""

import numpy as np
import pytest
import tensorflow as tf

import golden
from nbody_bench import plugins, testing
from nbody_bench.states import Domain, Particles, State
from nbody_bench.systems import System

CHARGES = System(law="plummer", coupling=1.0, source="charge")
OPEN = Domain(np.full((1, 3), np.inf))


def make(name, problem=None, **config):
  plugin = plugins.load_model(name)
  problem = problem or testing.problem(CHARGES, 3)
  return plugin.build(plugin.config(**config), problem)


def charged(reference):
  """Returns the inputs of a golden file as a batch of tensors."""
  position, velocity, charge = (
    np.reshape(reference[k], (-1, 5, reference[k].shape[-1]))
    for k in ("position", "velocity", "charge")
  )
  particles = Particles(np.ones(charge.shape[:2]), charge=charge[..., 0])
  domain = Domain(np.full((len(position), 3), np.inf))
  state = State(position, velocity)
  return testing.to_tensors((state, particles, domain))


def count(model):
  return sum(np.prod(v.shape) for v in model.trainable_variables)


def test_egnn_matches_the_reference():
  reference = golden.load("egnn")
  model = make("egnn", width=16, num_layers=2)
  inputs = charged(reference)
  model.jump(*inputs)
  golden.assign_mlp(model._embedding, reference, "embedding")
  for i, layer in enumerate(model._layers):
    for part, name in (
      ("edge", "edge_mlp"),
      ("coordinate", "coord_mlp"),
      ("velocity", "coord_mlp_vel"),
      ("node", "node_mlp"),
    ):
      if getattr(layer, part):
        golden.assign_mlp(getattr(layer, part), reference, f"gcl_{i}/{name}")
  np.testing.assert_allclose(
    model.jump(*inputs), reference["target_position"], atol=1e-5
  )


def test_egno_matches_the_reference():
  reference = golden.load("egno")
  model = make("egno", width=16, num_layers=2, embedding_width=8)
  inputs = charged(reference)
  times = tf.range(1, 6, dtype=tf.float32)
  model.trajectory(*inputs, times)
  kinds = {"w": "weight", "b": "bias"}
  weights = {
    f"{part}/linear_{i}/{k}": reference[f"{path}{k2}"]
    for k, k2 in kinds.items()
    for part, i, path in [
      ("embedding", 0, "embedding/"),
      *(
        (f"{layer}/{ours}", i, f"layers/{layer}/{theirs}/mlp/{2 * i}/")
        for layer in (0, 1)
        for i in (0, 1)
        for ours, theirs in (
          ("edge", "edge_message_net/scalar_net"),
          ("coordinate", "coord_net"),
          ("velocity", "node_v_net"),
          ("node", "node_net"),
        )
      ),
    ]
  }
  golden.assign_mlp(model._embedding, weights, "embedding")
  for i, block in enumerate(model._blocks):
    for part in ("edge", "coordinate", "velocity", "node"):
      if getattr(block.layer, part):
        # The reference has the squared distance first.
        rows = [*range(1, 33), 0, 33, 34] if part == "edge" else None
        network = getattr(block.layer, part)
        golden.assign_mlp(network, weights, f"{i}/{part}", rows)
    for ours, theirs in (("scalars", ""), ("vectors", "x_")):
      name = f"time_conv_{theirs}modules/{i}/t_conv/weights1"
      getattr(block, ours).weights.assign(reference[name])
  found = model.trajectory(*inputs, times)
  np.testing.assert_allclose(
    found.position[0], reference["trajectory_position"], atol=1e-5
  )
  np.testing.assert_allclose(
    found.velocity[0], reference["trajectory_velocity"], atol=1e-5
  )


@pytest.mark.parametrize(
  ("name", "config", "expected"),
  [
    # Less what nothing reads; see the files.
    ("egnn", {}, 134_020 - 12_416),
    ("egno", {}, 201_672 - 12_416),
    ("egno", {"convolution": ""}, 136_072 - 12_416),
  ],
)
def test_published_parameter_counts(name, config, expected):
  model = make(name, **config)
  inputs = charged(golden.load("egnn"))
  model.predict(*inputs, tf.constant([1.0, 2.0]))
  assert count(model) == expected
