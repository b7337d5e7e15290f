import itertools

import numpy as np
import pytest
import tensorflow as tf

import golden
from nbody_bench import plugins, testing
from nbody_bench.states import Domain, Particles, State

delta_gn = plugins.load("baselines", "delta_gn")


def build(config, problem=None, **kwargs):
  model = delta_gn.Simulator(config, problem or testing.problem())
  system = testing.random_system(**kwargs)
  model.step(*testing.to_tensors(system), 0.01)
  return model, system


@pytest.mark.parametrize(
  ("charged", "count"), [(False, 60_254), (True, 60_654)]
)
def test_published_parameter_count(charged, count):
  model, _ = build(delta_gn.Config(), charged=charged)
  assert sum(np.prod(v.shape) for v in model.trainable_variables) == count


def golden_model():
  reference = golden.load("delta_gn_gravity_10")
  config = delta_gn.Config(edge_widths=(24, 24), node_widths=(16, 16, 16))
  model, _ = build(config)
  # Reference order: sender, receiver, displacement, dt; graph_nets takes
  # edges (displacement, dt), receiver, sender. Nodes: features, sum, dt
  # against sum, (features, dt).
  edge_rows = [6, 7, 8, 3, 4, 5, 0, 1, 2]
  node_rows = [*range(3, 27), 0, 1, 2, 27]
  golden.assign_mlp(model._edge_block, reference, "edge", edge_rows)
  golden.assign_mlp(model._node_block, reference, "node", node_rows)
  golden.assign_mlp(model._decoder, reference, "decoder")
  state = reference["state"]
  system = (
    State(state[..., 1:3], state[..., 3:5]),
    Particles(mass=state[..., 0]),
    Domain(np.full((len(state), 2), reference["box_size"])),
  )
  return model, system, float(reference["dt"]), reference["next_state"]


@pytest.mark.parametrize("num_padding", [0, 10])
def test_matches_reference_weights_and_outputs(num_padding):
  model, (state, particles, domain), dt, expected = golden_model()
  if num_padding:
    state, particles = testing.pad(state, particles, num_padding)
  following = model.step(*testing.to_tensors((state, particles, domain)), dt)
  result = np.concatenate(following, -1)[:, : expected.shape[1]]
  np.testing.assert_allclose(result, expected, atol=1e-5)


@pytest.mark.parametrize(
  ("charged", "graph", "num_particles"),
  list(
    itertools.product([False, True], ["fully_connected", "nearest"], [17, 20])
  ),
)
def test_equals_plain_numpy(charged, graph, num_particles):
  config = delta_gn.Config(graph=graph, edge_widths=(8, 6), node_widths=(7, 5))
  model, system = build(
    config, charged=charged, num_particles=num_particles, seed=3
  )
  result = model.step(*testing.to_tensors(system), 0.02)
  expected = numpy_step(model, config, *system, 0.02)
  np.testing.assert_allclose(result.velocity, expected.velocity, atol=2e-5)
  gap = system[2].displacement(expected.position, result.position.numpy())
  np.testing.assert_allclose(gap, 0, atol=2e-5)


def numpy_step(model, config, state, particles, domain, dt):
  """The equations of the module's docstring, particle by particle."""

  def mlp(module, x, activate_final=True):
    variables = sorted(module.trainable_variables, key=lambda v: v.name)
    for b, w in zip(variables[::2], variables[1::2], strict=True):
      x = x @ w.numpy() + b.numpy()
      if activate_final:
        x = np.maximum(x, 0)
    return x

  position, velocity = np.copy(state.position), np.copy(state.velocity)
  batch, n, _ = position.shape
  charges = [] if particles.charge is None else [particles.charge]
  for b in range(batch):
    side = domain.box[b]
    features = np.column_stack(
      [particles.mass[b], *(c[b] for c in charges), state.velocity[b]]
    )
    for i in range(n):
      d = state.position[b] - state.position[b, i]
      d -= side * np.ceil(d / side - 0.5)
      order = np.argsort((d**2).sum(-1))[1:]
      senders = order[:15] if config.graph == "nearest" else order
      total = sum(
        mlp(
          model._edge_block,
          np.concatenate([d[j], [dt], features[i], features[j]]),
        )
        for j in senders
      )
      hidden = mlp(
        model._node_block, np.concatenate([total, features[i], [dt]])
      )
      change = mlp(model._decoder, hidden, activate_final=False)
      position[b, i] += change[:2]
      velocity[b, i] += change[2:]
  return State(position, velocity)


@pytest.mark.parametrize("graph", ["fully_connected", "nearest"])
@pytest.mark.parametrize("normalize", [False, True])
def test_padding_changes_nothing(graph, normalize):
  config = delta_gn.Config(graph=graph, normalize=normalize, num_neighbours=4)
  model, (state, particles, domain) = build(config, num_particles=20)
  alone = model.step(*testing.to_tensors((state, particles, domain)), 0.01)
  padded_state, padded = testing.pad(state, particles, 10)
  beside = model.step(*testing.to_tensors((padded_state, padded, domain)), 0.01)
  for one, other in zip(alone, beside, strict=True):
    np.testing.assert_allclose(one, other[:, :20], atol=1e-6)


def test_normalised_step_and_loss_agree():
  """The loss is zero exactly where the step hits the target."""
  model, system = build(delta_gn.Config(normalize=True))
  tensors = testing.to_tensors(system)
  following = model.step(*tensors, 0.01)
  start = tensors[0]
  window = testing.to_tensors(testing.trajectory(2))._replace(
    state=State(
      *(tf.stack([a, b], 1) for a, b in zip(start, following, strict=True))
    ),
    particles=tensors[1],
    domain=tensors[2],
  )
  assert float(model.loss(window)) < 1e-4


def test_too_few_particles_for_the_neighbours():
  with pytest.raises(ValueError, match="15 nearest neighbours need more than"):
    build(delta_gn.Config(graph="nearest"), num_particles=10)


def test_one_particle_alone():
  model, system = build(delta_gn.Config(), num_particles=1)
  result = model.step(*testing.to_tensors(system), 0.01)
  assert np.all(np.isfinite(result.velocity))


def test_normalised_outputs_are_increments_in_standard_deviations():
  """Zero weights but a bias b: q + v dt + std_q b, v + std_v b."""
  model, system = build(delta_gn.Config(normalize=True))
  for variable in model.trainable_variables:
    variable.assign(tf.zeros_like(variable))
  (bias,) = (v for v in model._decoder.trainable_variables if v.shape == (4,))
  bias.assign([1.0, 2.0, 3.0, 4.0])
  state, particles, domain = testing.to_tensors(system)
  after = model.step(state, particles, domain, 0.01)
  scale = testing.problem().statistics
  moved = domain.displacement(
    state.position + 0.01 * state.velocity, after.position
  )
  expected = scale["position_increment_std"] * np.array([1, 2])
  np.testing.assert_allclose(moved, expected + 0 * moved, atol=1e-6)
  expected = scale["velocity_increment_std"] * np.array([3, 4])
  change = after.velocity - state.velocity
  np.testing.assert_allclose(change, expected + 0 * change, atol=1e-6)


@pytest.mark.parametrize("normalize", [False, True])
def test_padding_does_not_enter_the_loss(normalize):
  model, _ = build(delta_gn.Config(normalize=normalize))
  window = testing.trajectory(num_frames=2)
  states, particles = zip(
    *(testing.pad(window.frame(t), window.particles, 3) for t in range(2)),
    strict=True,
  )
  padded = window._replace(
    state=State(*(np.stack(x, 1) for x in zip(*states, strict=True))),
    particles=particles[0],
  )
  one, other = (
    float(model.loss(testing.to_tensors(w))) for w in (window, padded)
  )
  assert one == pytest.approx(other, rel=1e-5)
