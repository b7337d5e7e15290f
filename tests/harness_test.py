"""What `nbody_bench.run` refuses before it makes, reads or overwrites data."""

import json

import pytest

from nbody_bench import run


def call(*flags):
  return run.main(["run", *map(str, flags)])


@pytest.mark.parametrize("task", ["forces", "relaxation_unseen_both"])
def test_a_model_without_forces_is_refused_before_data_are_made(
  task, tmp_path, capsys
):
  flags = "--model=egnn", "--dataset=slabs/smoke", f"--task={task}"
  folders = f"--data_dir={tmp_path / 'data'}", f"--output_dir={tmp_path}"
  assert call(*flags, *folders) == 2
  assert "predicts motion, and the task asks for f" in capsys.readouterr().err
  assert not (tmp_path / "data").exists()


@pytest.fixture
def finished(data_dir, tmp_path):
  """Flags of a run that is there, its folder's last."""
  flags = ["--model=leapfrog", "--dataset=nbody_gravity/smoke"]
  flags += [f"--data_dir={data_dir}", "--timing=none", "--rollout_steps=2"]
  flags += ["--config.num_substeps=4", f"--output_dir={tmp_path}"]
  assert call(*flags) == 0
  return flags


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (["--config.num_substeps=3"], "config.num_substeps: 4, not 3; give the "),
    (
      ["--recipe.clip_norm=2", "--task=long"],
      "task: rollout, not long and another recipe.clip_norm: 0.0, not 2.0;",
    ),
    # What else differs is for that reason.
    (["--model=ballistic"], "model: leapfrog, not ballistic; give the same"),
  ],
)
def test_a_run_of_other_flags_is_told_which(flags, message, finished, capsys):
  if flags[0].startswith("--model"):
    finished.remove("--config.num_substeps=4")
  assert call(*finished, *flags, "--resume") == 2
  assert f"config.json was made with another {message}" in (
    capsys.readouterr().err
  )


def test_a_setting_that_is_not_recorded_is_another(finished, tmp_path, capsys):
  path = tmp_path / "seed_0" / "config.json"
  content = json.loads(path.read_text())
  del content["config"]["num_substeps"]
  path.write_text(json.dumps(content))
  assert call(*finished, "--resume") == 2
  assert "config.num_substeps: None, not 4;" in capsys.readouterr().err


def test_what_metrics_adds_is_printed(finished, capsys):
  capsys.readouterr()
  assert call(*finished, "--resume", "--metrics=final_mse") == 0
  assert "F-MSE @2" in capsys.readouterr().out


def test_an_empty_folder_is_not_the_present_one(capsys):
  flags = "--model=leapfrog", "--dataset=nbody_gravity/smoke"
  assert call(*flags, "--output_dir=") == 2
  assert "--output_dir= is empty" in capsys.readouterr().err


def test_a_model_of_no_variables_is_told_so(data_dir, tmp_path, capsys):
  path = tmp_path / "forgotten.py"
  path.write_text(
    "import sonnet as snt\n"
    "class Simulator(snt.Module):\n"
    "  def step(self, state, particles, domain, time_step):\n"
    "    return state\n"
    "  __call__ = step\n"
  )
  flags = f"--model={path}", "--dataset=nbody_gravity/smoke"
  folders = f"--data_dir={data_dir}", f"--output_dir={tmp_path / 'out'}"
  assert call(*flags, *folders, "--train_steps=2") == 2
  assert "no trainable variables after a call" in capsys.readouterr().err
