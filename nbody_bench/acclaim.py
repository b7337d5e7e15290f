"""Acclaim files of motion capture: skeletons (ASF) and motions (AMC).

The CMU Graphics Lab (mocap.cs.cmu.edu) gives a subject's skeleton in an ASF
file, and of each trial a root position and joint angles at 120 frames a second
in an AMC file. Lengths stay in the units of these files: 1 is 1 / 0.45 inch,
5.64 cm. Joint 0 is the root, joint j the far end of the j-th bone; bone k is
listed as (joint k + 1, its parent).
"""

import pathlib
import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from nbody_bench.mocap import NUM_JOINTS

_TURNS = {"rx": 0, "ry": 1, "rz": 2}
_SHIFTS = {"tx": 0, "ty": 1, "tz": 2}


class Bone(NamedTuple):
  """One bone of a skeleton.

  Attributes:
    name: of the bone.
    parent: index of the bone that it hangs on, -1 for the root.
    offset: `[3]` from its parent's end to its own, in the rest pose.
    axis: `[3, 3]` rotation of the frame that its angles are counted in.
    channels: what its line in an AMC file holds, such as "rx".
  """

  name: str
  parent: int
  offset: np.ndarray
  axis: np.ndarray
  channels: tuple[str, ...]


class Skeleton(NamedTuple):
  """A subject's skeleton.

  Attributes:
    root: channels and axis of the root.
    bones: in the order of the file; parents may come later.
  """

  root: Bone
  bones: tuple[Bone, ...]

  @property
  def pairs(self) -> np.ndarray:
    """Joints that the bones tie together, `[E, 2]`."""
    return np.array([[k + 1, b.parent + 1] for k, b in enumerate(self.bones)])


def read_skeleton(path: pathlib.Path) -> Skeleton:
  """Returns the skeleton of an ASF file.

  Raises:
    ValueError: naming the file, if it cannot be understood.
  """
  try:
    return _skeleton(_sections(path))
  except (KeyError, IndexError, ValueError, UnicodeDecodeError) as error:
    raise ValueError(
      f"{path} is no ASF file that can be read "
      f"({type(error).__name__}: {error}); get it anew"
    ) from None


def _sections(path):
  """Returns the lines of each `:section`, cut into words."""
  sections: dict[str, list[list[str]]] = {}
  lines = sections.setdefault("", [])
  for line in path.read_text().splitlines():
    words = line.partition("#")[0].split()
    if words and words[0].startswith(":"):
      lines = sections.setdefault(words[0][1:].lower(), [])
      words = words[1:]
    if words:
      lines.append(words)
  return sections


def _skeleton(sections):
  degrees = any(w[:2] == ["angle", "deg"] for w in sections["units"])
  unit = np.pi / 180 if degrees else 1.0
  root = {words[0].lower(): words[1:] for words in sections["root"]}
  (order,) = root.get("axis", ["XYZ"])
  angles = np.array(root["orientation"], float) * unit
  top = Bone(
    "root",
    -1,
    np.array(root["position"], float),
    _euler(angles, order),
    tuple(x.lower() for x in root["order"]),
  )
  fields: list[dict[str, list[str]]] = []
  for words in sections["bonedata"]:
    if words[0] == "begin":
      fields.append({})
    elif words[0] != "end":
      fields[-1].setdefault(words[0].lower(), words[1:])
  names = [f["name"][0] for f in fields]
  parent = {}
  for above, *below in sections["hierarchy"]:
    for name in below:
      parent[name] = above
  index = {"root": -1, **{name: k for k, name in enumerate(names)}}
  bones = []
  for name, field in zip(names, fields, strict=True):
    *turned, order = field["axis"]
    direction = np.array(field["direction"], float)
    bones.append(
      Bone(
        name,
        index[parent[name]],
        float(field["length"][0]) * direction,
        _euler(np.array(turned, float) * unit, order),
        tuple(x.lower() for x in field.get("dof", ())),
      )
    )
  return Skeleton(top, tuple(bones))


def read_motion(
  path: pathlib.Path, skeleton: Skeleton
) -> dict[str, np.ndarray]:
  """Returns the channels of an AMC file, `[T, C]` for each bone that has some.

  Raises:
    ValueError: naming file and frame, if it cannot be understood or does not
      belong to the skeleton.
  """
  wanted = {
    b.name: len(b.channels)
    for b in (skeleton.root, *skeleton.bones)
    if b.channels
  }
  values: dict[str, list[list[float]]] = {name: [] for name in wanted}
  num_frames = 0
  degrees = False
  try:
    for line in path.read_text().splitlines():
      words = line.partition("#")[0].split()
      if not words:
        continue
      if words[0].startswith(":"):
        degrees |= words[0].upper() == ":DEGREES"
      elif re.fullmatch(r"\d+", words[0]):
        _check_whole(values, num_frames)
        num_frames += 1
      elif len(words) - 1 != wanted[words[0]]:
        raise ValueError(f"{words[0]} has {len(words) - 1} numbers")
      else:
        values[words[0]].append([float(x) for x in words[1:]])
    _check_whole(values, num_frames)
    if not num_frames:
      raise ValueError("there are no frames")
  except (KeyError, ValueError, UnicodeDecodeError) as error:
    raise ValueError(
      f"{path} is no AMC file of this skeleton, at frame {num_frames} "
      f"({type(error).__name__}: {error}); get it anew"
    ) from None
  arrays = {name: np.array(x) for name, x in values.items()}
  for b in (skeleton.root, *skeleton.bones):
    for c, channel in enumerate(b.channels):
      if channel in _TURNS and degrees:
        arrays[b.name][:, c] *= np.pi / 180
  return arrays


def _check_whole(values, num_frames):
  for name, rows in values.items():
    if len(rows) != num_frames:
      raise ValueError(f"{name} is missing, or there twice")


def joint_positions(
  skeleton: Skeleton, motion: Mapping[str, np.ndarray]
) -> np.ndarray:
  """Returns the positions of all joints, `[T, 1 + bones, 3]`.

  With C the rotation of a bone's own frame and M that of its angles, a bone
  turns by R = R_parent C M C^-1, and its end is that of its parent plus R times
  its offset in the rest pose (Acclaim's format; Schafer 1995).

  Args:
    skeleton: of the subject.
    motion: of `read_motion`, in radians.
  """
  num_frames = len(motion["root"])
  root = skeleton.root
  position = np.zeros((num_frames, len(skeleton.bones) + 1, 3))
  position[:, 0] = root.offset
  for c, channel in enumerate(root.channels):
    if channel in _SHIFTS:
      position[:, 0, _SHIFTS[channel]] += motion["root"][:, c]
  turns = {-1: _turned(root, motion, num_frames)}
  left = list(range(len(skeleton.bones)))
  while left:
    # Parents first, whatever the order of the file.
    k = next(k for k in left if skeleton.bones[k].parent in turns)
    left.remove(k)
    bone = skeleton.bones[k]
    turns[k] = turns[bone.parent] @ _turned(bone, motion, num_frames)
    position[:, k + 1] = position[:, bone.parent + 1] + turns[k] @ bone.offset
  return position


def _turned(bone, motion, num_frames):
  """Returns C M C^-1 at each frame, `[T, 3, 3]`."""
  turn = np.broadcast_to(np.eye(3), (num_frames, 3, 3))
  for c, channel in enumerate(bone.channels):
    if channel in _TURNS:
      # The first angle is the first to turn.
      turn = _rotation(_TURNS[channel], motion[bone.name][:, c]) @ turn
  return bone.axis @ turn @ bone.axis.T


def _euler(angles, order):
  """Returns the rotation by Euler angles, the first of them turning first.

  Args:
    angles: about the axes that `order` names.
    order: such as "XYZ".
  """
  turn = np.eye(3)
  for axis, angle in zip(order.upper(), angles, strict=True):
    turn = _rotation("XYZ".index(axis), angle) @ turn
  return turn


def _rotation(axis, angle):
  """Returns the rotation about a coordinate axis, `[..., 3, 3]`."""
  c, s = np.cos(angle), np.sin(angle)
  result = np.zeros((*np.shape(angle), 3, 3))
  a, b = (axis + 1) % 3, (axis + 2) % 3
  result[..., axis, axis] = 1
  result[..., a, a], result[..., b, b] = c, c
  result[..., a, b], result[..., b, a] = -s, s
  return result


def read(
  skeleton: pathlib.Path,
  motions: Mapping[int, pathlib.Path],
) -> tuple[np.ndarray, dict[int, np.ndarray]]:
  """Returns bones `[E, 2]` and positions `[T, 31, 3]` of each trial.

  Args:
    skeleton: ASF file.
    motions: AMC files by number of the trial.

  Raises:
    ValueError: for a file that cannot be read, or another skeleton than CMU's
      of 31 joints.
  """
  body = read_skeleton(skeleton)
  if len(body.bones) + 1 != NUM_JOINTS:
    raise ValueError(
      f"{skeleton} has {len(body.bones) + 1} joints, not the {NUM_JOINTS} of "
      "CMU's skeletons; get it anew"
    )
  return body.pairs, {
    k: joint_positions(body, read_motion(path, body))
    for k, path in motions.items()
  }
