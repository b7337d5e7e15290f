"""What a submitted SavedModel may hold, looked at before it is loaded.

Loading a SavedModel runs its restoring functions, and calling it any operation
of TensorFlow, some of which read files or run Python. So the graph is read as
data, and every operation must be one that computes; see `ALLOWED`.
"""

import pathlib

from nbody_bench.submissions import SubmissionError

_MAX_GRAPH_BYTES = 2**26
_MAX_BYTES = 2**28
_FILES = (
  "fingerprint.pb",
  "saved_model.pb",
  "variables/variables.data-00000-of-00001",
  "variables/variables.index",
)

# What the functions that `tf.saved_model.save` adds need, to read variables.
_OF_SAVING = """
  AssignVariableOp DisableCopyOnRead Identity MergeV2Checkpoints NoOp Pack
  Placeholder ReadVariableOp RestoreV2 SaveV2 Select ShardedFilename
  StaticRegexFullMatch StringJoin VarHandleOp
"""
# Arithmetic, arrays, control flow and random numbers without a state.
_OF_COMPUTING = """
  Abs Acos Acosh AddN AddV2 All Any ArgMax ArgMin Asin Asinh Atan Atan2 Atanh
  BatchMatMulV2 BatchMatMulV3 BesselI0e BesselI1e BiasAdd BiasAddGrad Bincount
  Bitcast BitwiseAnd BitwiseOr BitwiseXor BroadcastArgs BroadcastGradientArgs
  BroadcastTo Bucketize Case Cast Ceil CheckNumerics Cholesky CholeskyGrad
  ClipByValue Complex ComplexAbs ConcatOffset ConcatV2 Conj Const Conv2D
  Conv2DBackpropFilter Conv2DBackpropInput Cos Cosh Cross Cumprod Cumsum
  DenseBincount DepthwiseConv2dNative Diag DiagPart Digamma Div DivNoNan
  DynamicPartition DynamicStitch Einsum Elu EluGrad EnsureShape Equal Erf Erfc
  Erfinv Exp ExpandDims Expm1 FFT FFT2D FFT3D Fill Floor FloorDiv FloorMod
  FusedBatchNormGradV3 FusedBatchNormV3 GatherNd GatherV2 Greater GreaterEqual
  IFFT IFFT2D IFFT3D IRFFT IRFFT2D IRFFT3D IdentityN If Igamma Igammac Imag
  Inv InvGrad Invert InvertPermutation IsFinite IsInf IsNan L2Loss LeakyRelu
  LeakyReluGrad LeftShift Less LessEqual Lgamma LinSpace Log Log1p LogSoftmax
  LogicalAnd LogicalNot LogicalOr LowerBound MatMul MatrixBandPart
  MatrixDeterminant MatrixDiag MatrixDiagPartV3 MatrixDiagV3 MatrixInverse
  MatrixSetDiagV3 MatrixSolve MatrixTriangularSolve Max MaxPool Maximum Mean
  Merge Min Minimum MirrorPad Mod Mul MulNoNan Neg NextAfter NotEqual OneHot
  OnesLike Pad PadV2 PartitionedCall Polygamma Pow PreventGradient Prod Qr
  RFFT RFFT2D RFFT3D Range Rank Real RealDiv Reciprocal ReciprocalGrad Relu
  Relu6 Relu6Grad ReluGrad Reshape ResourceGather ReverseSequence ReverseV2
  RightShift Rint Roll Round Rsqrt RsqrtGrad ScatterNd SegmentMaxV2
  SegmentMinV2 SegmentSumV2 SelectV2 SelfAdjointEigV2 Selu SeluGrad Shape
  ShapeN Sigmoid SigmoidGrad Sign Sin Sinh Size Slice Snapshot Softmax
  Softplus SoftplusGrad Softsign SoftsignGrad Split SplitV Sqrt SqrtGrad
  Square SquaredDifference Squeeze StatefulPartitionedCall StatelessCase
  StatelessIf StatelessRandomGetKeyCounter StatelessRandomNormalV2
  StatelessRandomUniformIntV2 StatelessRandomUniformV2 StatelessWhile
  StopGradient StridedSlice StridedSliceGrad Sub Sum Svd Switch Tan Tanh
  TanhGrad TensorListConcatV2 TensorListElementShape TensorListFromTensor
  TensorListGather TensorListGetItem TensorListLength TensorListPopBack
  TensorListPushBack TensorListReserve TensorListResize TensorListScatterV2
  TensorListSetItem TensorListStack TensorScatterAdd TensorScatterMax
  TensorScatterMin TensorScatterSub TensorScatterUpdate
  TensorStridedSliceUpdate Tile TopKV2 Transpose TridiagonalMatMul
  TridiagonalSolve TruncateDiv TruncateMod Unique Unpack UnsortedSegmentMax
  UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum UpperBound Where
  While Xdivy XlaSort XlaVariadicSort Xlog1py Xlogy ZerosLike Zeta
"""
ALLOWED = frozenset((_OF_SAVING + _OF_COMPUTING).split())


def check(folder: pathlib.Path) -> None:
  """Refuses a SavedModel that could do more than compute.

  Args:
    folder: of the SavedModel; nothing in it is loaded.

  Raises:
    SubmissionError: naming the file or the operations, and what is allowed.
  """
  _check_files(folder)
  from tensorflow.core.protobuf import saved_model_pb2
  from tensorflow.python.framework import op_def_registry

  try:
    content = saved_model_pb2.SavedModel.FromString(
      (folder / "saved_model.pb").read_bytes()
    )
  except Exception as error:  # of the parser, whatever it is given
    raise SubmissionError(
      f"model: saved_model.pb cannot be read ({str(error)[:100]})"
    ) from None
  used, functions = set(), set()
  for graph in (g.graph_def for g in content.meta_graphs):
    used |= {node.op for node in graph.node}
    for function in graph.library.function:
      functions.add(function.signature.name)
      used |= {node.op for node in function.node_def}
  wrong = sorted(used - functions - ALLOWED)
  if wrong:
    raise SubmissionError(
      f"model: the operations {', '.join(wrong[:10])} are not allowed; a model "
      "may only compute (leaderboard/model_scan.py lists what)"
    )
  # A function may not hide an operation of its name from the list.
  shadowed = sorted(f for f in functions if op_def_registry.get(f) is not None)
  if shadowed:
    raise SubmissionError(
      f"model: functions have the names of operations, "
      f"{', '.join(shadowed[:5])}; rename them"
    )


def _check_files(folder):
  if folder.is_symlink() or not folder.is_dir():
    raise SubmissionError(f"model: {folder.name} is no folder of a SavedModel")
  total = 0
  for path in folder.rglob("*"):
    name = path.relative_to(folder).as_posix()
    if path.is_dir() and not path.is_symlink():
      continue
    if path.is_symlink() or name not in _FILES:
      raise SubmissionError(
        f"model: {name} does not belong there; a SavedModel here has the files "
        f"{', '.join(_FILES)}"
      )
    total += path.stat().st_size
  graph = folder / "saved_model.pb"
  if not graph.is_file():
    raise SubmissionError("model: there is no saved_model.pb")
  if graph.stat().st_size > _MAX_GRAPH_BYTES or total > _MAX_BYTES:
    raise SubmissionError(
      f"model: {total} bytes, of which the graph {graph.stat().st_size}; at "
      f"most {_MAX_BYTES} and {_MAX_GRAPH_BYTES} are taken"
    )
