import json
import os
import re
import shutil

import numpy as np
import pytest
import sonnet as snt
import tensorflow as tf
from tensorflow.compiler.xla.service import hlo_pb2

from nbody_bench import (
  export,
  pipelines,
  plugins,
  portable,
  run,
  testing,
)
from nbody_bench.run_directory import RunDirectory
from nbody_bench.states import Domain, Particles, State, Trajectory

DATASET = "nbody_gravity/smoke"
RECIPE = {"train_steps": 2, "batch_size": 3, "compile": "never"}
SMALL = {"edge_widths": [8, 8], "node_widths": [8, 8]}
PROGRAMS = ("rollout", "train_step")


def train(folder, data_dir, name, config):
  """Leaves what the harness does, with eager steps, for no program is made."""
  tf.keras.utils.set_random_seed(0)
  tf.random.set_global_generator(tf.random.Generator.from_seed(0))
  model = build(data_dir, name, config)
  data = pipelines.load(DATASET, "train", data_dir).given
  window = testing.to_tensors(data.select(slice(0, 2)).frames(0, 2))
  optimizer = snt.optimizers.Adam(tf.Variable(1e-3, trainable=False))
  directory = RunDirectory(folder, model=model, optimizer=optimizer)
  for _ in range(RECIPE["train_steps"]):
    descend(model, window, optimizer)
    directory.step += 1
  with directory:
    directory.log({"train_loss": 1.0})
    directory.save()
  description = {
    "model": name,
    "dataset": DATASET,
    "config": config,
    "recipe": RECIPE,
    "seed": 3,
    "checkpoint": "last",
    "statistics": pipelines.problem(DATASET, data_dir).statistics,
  }
  (folder / "config.json").write_text(json.dumps(description))
  return folder


def descend(model, window, optimizer):
  with tf.GradientTape() as tape:
    loss = model.loss(window)
  variables = model.trainable_variables
  optimizer.apply(tape.gradient(loss, variables), variables)
  return loss


def build(data_dir, name, config):
  plugin = plugins.load_model(name)
  values = {
    k: tuple(v) if isinstance(v, list) else v for k, v in config.items()
  }
  problem = pipelines.problem(DATASET, data_dir)
  return plugin.build(plugin.config(**values), problem)


def call_once(model, data):
  one = data.select(slice(0, 1))
  model.step(
    *testing.to_tensors((one.frame(0), one.particles, one.domain)), 0.01
  )


def call(checkpoint, out, data_dir, *more):
  return export.main(
    [
      "export",
      f"--checkpoint={checkpoint}",
      f"--out={out}",
      f"--data_dir={data_dir}",
      *more,
    ]
  )


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, data_dir):
  folder = tmp_path_factory.mktemp("run") / "seed_3"
  return train(folder, data_dir, "delta_gn", SMALL)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, checkpoint, data_dir):
  out = tmp_path_factory.mktemp("exports") / "out"
  assert call(checkpoint, out, data_dir, "--num_steps=4") == 0
  return out


def read(out):
  signature = json.loads((out / "signature.json").read_text())
  return (
    signature["programs"],
    np.load(out / "weights.npz"),
    np.load(out / "example.npz"),
  )


def assert_signature_matches(out):
  """Against the arrays and against the programs themselves."""
  programs, weights, example = read(out)
  assert tuple(programs) == PROGRAMS
  used = set()
  for name, program in programs.items():
    module = hlo_pb2.HloModuleProto.FromString(
      (out / program["file"]).read_bytes()
    )
    shape = module.host_program_shape
    for described, shapes in (
      (program["inputs"], shape.parameters),
      (program["outputs"], shape.result.tuple_shapes),
    ):
      assert [x["shape"] for x in described] == [
        list(s.dimensions) for s in shapes
      ]
    for x in program["inputs"]:
      value = (
        example[f"{name}/in/{x['name']}"]
        if not x["weights"]
        else (weights[x["weights"]])
      )
      assert [list(value.shape), value.dtype] == [x["shape"], x["dtype"]]
      used |= {x["weights"]} - {None}
    for x in program["outputs"]:
      value = example[f"{name}/out/{x['name']}"]
      assert [list(value.shape), value.dtype] == [x["shape"], x["dtype"]]
      if x["updates"] is not None:
        assert program["inputs"][x["updates"]]["weights"] == x["name"]
    assert example[f"{name}/out/done"] == program["steps"]
    needs = example[f"{name}/out/needs"]
    for need, name_of in zip(needs, program["needs"], strict=False):
      assert 0 < need <= program["sizes"][name_of]
  assert used == set(weights.files)


def assert_portable(out):
  for name in PROGRAMS:
    content = (out / f"{name}.hlo").read_bytes()
    assert b"custom-call" not in content
    assert os.fsencode(os.sep + "nbody_bench" + os.sep) not in content
    module = hlo_pb2.HloModuleProto.FromString(content)
    instructions = [i for c in module.computations for i in c.instructions]
    assert len(instructions) > 100
    for i in instructions:
      for shape in (i.shape, *i.shape.tuple_shapes):
        assert not any(shape.is_dynamic_dimension), i.name


def test_files_and_signature(exported):
  assert sorted(p.name for p in exported.iterdir()) == [
    "README.md",
    "example.npz",
    "rollout.hlo",
    "signature.json",
    "train_step.hlo",
    "weights.npz",
  ]
  assert sorted(p.name for p in exported.parent.iterdir()) == ["out"]
  assert_signature_matches(exported)
  assert (
    "4 time steps of 1 x 20 particles" in (exported / "README.md").read_text()
  )


def test_programs_are_portable(exported):
  assert_portable(exported)


def test_outputs_are_those_of_the_model(exported, data_dir):
  """Roll-out and optimiser steps again, eagerly and without the programs."""
  programs, weights, example = read(exported)
  model = build(data_dir, "delta_gn", SMALL)
  test = pipelines.load(DATASET, "test", data_dir, 1).given
  call_once(model, test)
  for variable in model.variables:
    variable.assign(weights[f"model/{variable.name.removesuffix(':0')}"])
  times = tf.constant(example["rollout/in/times"])
  start = testing.to_tensors((test.frame(0), test.particles, test.domain))
  states = model.predict(*start, times).state
  for field in State._fields:
    np.testing.assert_allclose(
      getattr(states, field), example[f"rollout/out/state.{field}"], atol=1e-4
    )
  np.testing.assert_allclose(times, test.time[1:5], rtol=1e-6)

  optimizer = snt.optimizers.Adam(tf.Variable(0.0, trainable=False))
  variables = model.trainable_variables
  optimizer.apply([tf.zeros_like(v) for v in variables], variables)
  for variable in optimizer.variables:
    key = f"optimizer/{variable.name.removesuffix(':0')}"
    if key in weights.files:
      variable.assign(weights[key])
  assert int(optimizer.step.numpy()) == RECIPE["train_steps"]
  for i in range(programs["train_step"]["steps"]):
    optimizer.learning_rate.assign(example["train_step/in/rates"][i])
    loss = descend(model, window_of(example, i), optimizer)
    assert example["train_step/out/losses"][i, 0] == pytest.approx(
      float(loss), rel=1e-3
    )
  for variable in variables:
    key = f"train_step/out/model/{variable.name.removesuffix(':0')}"
    np.testing.assert_allclose(variable, example[key], atol=1e-5)


def window_of(example, i):
  def value(name):
    return tf.constant(example[f"train_step/in/windows.{name}"])

  return Trajectory(
    value("time"),
    State(value("state.position")[i], value("state.velocity")[i]),
    Particles(mass=value("particles.mass")[i]),
    Domain(value("domain.box")[i]),
  )


@pytest.mark.slow
def test_the_hierarchy_at_another_size(tmp_path, data_dir):
  checkpoint = train(
    tmp_path / "seed_3",
    data_dir,
    "hierarchical_delta_gn",
    SMALL | {"num_levels": 3},
  )
  out = tmp_path / "out"
  flags = ["--num_particles=26", "--batch_size=2", "--num_steps=3"]
  assert call(checkpoint, out, data_dir, *flags, "--train_batch_size=2") == 0
  assert_signature_matches(out)
  assert_portable(out)
  programs, _, example = read(out)
  assert example["rollout/out/state.position"].shape == (2, 3, 26, 2)
  windows = example["train_step/in/windows.state.position"]
  assert windows.shape == (8, 2, 2, 26, 2)
  for program in programs.values():
    assert "particle_edges" in program["needs"]


@pytest.mark.slow
def test_hierarchical_hogn(tmp_path, data_dir):
  config = SMALL | {"global_widths": [8], "num_levels": 3}
  checkpoint = train(tmp_path / "seed_3", data_dir, "hierarchical_hogn", config)
  assert call(checkpoint, tmp_path / "out", data_dir, "--num_steps=2") == 0
  assert_signature_matches(tmp_path / "out")
  assert_portable(tmp_path / "out")


@pytest.mark.slow
def test_what_a_run_leaves_is_exported(tmp_path, data_dir):
  flags = ["--train_steps=9", "--batch_size=2", "--checkpoint=best"]
  flags += ["--config.edge_widths=8", "--config.node_widths=8"]
  arguments = ["run", "--model=delta_gn", f"--dataset={DATASET}", *flags]
  arguments += [f"--data_dir={data_dir}", f"--output_dir={tmp_path / 'run'}"]
  assert run.main(arguments) == 0
  out = tmp_path / "out"
  assert call(tmp_path / "run" / "seed_0", out, data_dir) == 0
  assert_signature_matches(out)
  assert json.loads((out / "signature.json").read_text())["step"] == 9


def test_the_run_is_left_as_it_is(checkpoint, tmp_path, data_dir):
  """One that is going on has logged more than its last checkpoint knows."""
  folder = tmp_path / "seed_3"
  shutil.copytree(checkpoint, folder)
  with (folder / "metrics.jsonl").open("a") as log:
    log.write('{"step": 99, "train_loss": 1.0}\n')
  before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
  export._load(export.Settings(folder, tmp_path / "out", data_dir))
  assert before == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_systems_of_another_size_have_the_same_density():
  data = testing.trajectory(batch=3, num_particles=8, box_side=4.0)
  for n in (2, 8, 50):
    other = export.with_particles(data, n)
    assert other.state.position.shape == (3, 4, n, 2)
    assert other.particles.mass.shape == (3, n)
    np.testing.assert_allclose(np.prod(other.domain.box, -1), 2.0 * n)
    assert np.all(np.abs(other.state.position) <= other.domain.box[0, 0] / 2)
    apart = np.ptp(other.state.position[0, 0], axis=0)
    assert n < 50 or np.all(apart > 0.8 * other.domain.box[0])
  history = data._replace(particles=data.particles._replace(history=data.state))
  with pytest.raises(ValueError, match="without bonds and without context"):
    export.with_particles(history, 4)


def edit(**changes):
  def apply(folder):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))

  return apply


@pytest.mark.parametrize(
  ("spoil", "message"),
  [
    (
      lambda f: (f / "config.json").unlink(),
      r"config\.json is missing; the folder must be that of a run's seed",
    ),
    (
      lambda f: (f / "config.json").write_text('{"model": "del'),
      r"seed_3/config\.json is damaged \(",
    ),
    (
      lambda f: (f / "config.json").write_text('{"model": "delta_gn"}'),
      r"lacks dataset, config, recipe, seed, checkpoint, statistics; take",
    ),
    (
      lambda f: shutil.rmtree(f / "checkpoints"),
      r"checkpoints holds no checkpoint; take the seed folder",
    ),
    (
      lambda f: (f / "checkpoints" / "last-2.index").write_bytes(b"nonsense"),
      r"checkpoint .*last-2 is damaged or of another model",
    ),
    (
      edit(config=SMALL | {"edge_widths": [8, 9]}),
      r"checkpoint .*last-2 is damaged or of another model",
    ),
    (edit(config={"widths": 3}), r"does not fit the model delta_gn \(.*widths"),
    (edit(model="ballistic", config={}), "ballistic has nothing to train"),
    (edit(dataset="nbody_gravity/n21"), "is not in nbody_gravity's config"),
    (edit(dataset="nbody_gravity/n10"), r"prepare --dataset=nbody_gravity/n10"),
  ],
)
def test_errors_are_one_line_and_leave_nothing(
  spoil, message, checkpoint, tmp_path, data_dir, capsys
):
  folder = tmp_path / "run" / "seed_3"
  shutil.copytree(checkpoint, folder)
  spoil(folder)
  assert call(folder, tmp_path / "out", data_dir) == 2
  error = capsys.readouterr().err
  assert re.search(message, error), error
  assert error.startswith("error: ")
  assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]


def test_a_wrong_folder(checkpoint, exported, tmp_path, data_dir, capsys):
  assert call(checkpoint.parent, tmp_path / "out", data_dir) == 2
  assert f"did you mean {checkpoint}?" in capsys.readouterr().err
  assert call(checkpoint, exported, data_dir) == 2
  assert "is not an empty folder; choose another" in capsys.readouterr().err


def test_what_only_tensorflow_could_run_is_refused():
  @tf.function(jit_compile=True)
  def unique(x):
    return tf.unique(x)[0]

  lower = unique.experimental_get_compiler_ir(tf.constant([1.0, 2.0, 1.0]))
  module = hlo_pb2.HloModuleProto.FromString(lower(stage="hlo_serialized"))
  with pytest.raises(ValueError, match="has a shape that depends on the data"):
    portable.check_portable(module)
  module = hlo_pb2.HloModuleProto()
  module.computations.add().instructions.add(
    name="sort", opcode="custom-call", custom_call_target="TopK"
  )
  with pytest.raises(ValueError, match="sort becomes a call of 'TopK'"):
    portable.check_portable(module)
