"""A training run: build, restore, compile, loop."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from typing import Any, Literal

import jax
from etils import epath

from infformer_jax.console import Console
from infformer_jax.errors import ConfigError, check_range
from infformer_jax.nn import transformer
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.train import parameter_groups
from infformer_jax.train.checkpoint import Checkpoints
from infformer_jax.train.exits import NotFiniteError, Terminated
from infformer_jax.train.hooks import Best, Every, Hook, Run, Save, StatusLine, comparable, log
from infformer_jax.train.mesh import MeshConfig, make_mesh
from infformer_jax.train.metrics import MetricsFile, Totals
from infformer_jax.train.optimizer import OptimizerConfig, make_optimizer
from infformer_jax.train.profile import Profile
from infformer_jax.train.reports import Reports
from infformer_jax.train.restore import replaced
from infformer_jax.train.sharding import put_batch, put_constants, shardings
from infformer_jax.train.state import initial_state
from infformer_jax.train.step import make_train_step
from infformer_jax.train.termination import Termination
from infformer_jax.types import Array, Batch


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
  """The length of a run, the size of a step, and intervals in steps. A step is a chunk of every lane."""

  num_steps: int = 10_000
  batch_size: int = 16  # lanes over all devices
  segments_per_chunk: int = 4  # s; gradients flow through the memory within a chunk
  max_document_tokens: int | None = None  # longer documents are cut for training (data/cut_documents.py)
  # The lanes of a step are processed in so many groups, one after the other: the same gradient with the
  # activations of one group in memory. Divides the lanes of each device.
  accumulate_steps: int = 1
  # A step with a value that is not finite: 'stop' ends the run before it, 'skip' passes over its chunk, up to
  # max_skipped_steps times in a row (docs/design.md).
  on_nonfinite: Literal['stop', 'skip'] = 'stop'
  max_skipped_steps: int = 10
  profile_steps: tuple[int, int] | None = None  # the first and last step of a trace in W/profile, from 1
  log_every: int = 50
  evaluate_every: int = 1000
  checkpoint_every: int = 1000
  optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
  mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)  # free when a run is resumed

  def __post_init__(self) -> None:
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      if isinstance(value, int):
        check_range(field.name, value, 1)
    if self.batch_size % self.accumulate_steps:
      lanes, largest = self.batch_size, min(self.accumulate_steps, self.batch_size)
      fits = next(k for k in range(largest, 0, -1) if lanes % k == 0)
      raise ConfigError(
        f'accumulate_steps = {self.accumulate_steps} must divide batch_size = {lanes}; use {fits}'
      )
    if self.profile_steps is not None:
      first, last = self.profile_steps
      if not 1 <= first <= last <= self.num_steps:
        raise ConfigError(
          f'profile_steps = {self.profile_steps} must be a first and a last step, '
          f'from 1 to num_steps = {self.num_steps}'
        )


def train(
  config: TrainConfig,
  model: ModelConfig,
  *,
  vocab_size: int,
  seed: int,
  batches: Callable[[int], Iterator[Batch]],
  workdir: epath.Path,
  hooks: Sequence[Hook],
  measured_on: Mapping[str, Any],
  console: Console,
  flops_per_token: Callable[[], float] | None = None,
  initial: Mapping[str, Array] | None = None,
) -> Run:
  """Trains to the last step, from the newest checkpoint in the work directory or from the start.

  A run that is killed at any moment and called again has the same final parameters and memories, bit for bit,
  and the same metrics except timings. This holds on the same machine, with the same devices, CPU affinity and
  XLA_FLAGS, which on a GPU include --xla_gpu_deterministic_ops=true.

  Args:
    config: the settings of the training.
    model: the trunk and its memories.
    vocab_size: v.
    seed: for the parameters and all random draws.
    batches: given a position, yields this process's lanes of the chunks position, position + 1, ...
    workdir: contains metrics.jsonl, tensorboard/, checkpoints/ and profile/.
    hooks: called in this order, after logging and before saving.
    measured_on: what the evaluations among the hooks measure, ready for JSON. The best restarts if the one in
      the checkpoint was measured on something else.
    console: for status lines and messages.
    flops_per_token: of the model, forward and backward; called where the peak of the devices is known, for
      the fraction of it in the metrics. None: the metrics do not have it.
    initial: parameters by name with which a run without a checkpoint starts; the others are drawn.
  Returns:
    The run after its last step; if the last step was already done, the run as restored.
  Raises:
    Stopped: a value is not finite and its step is not skipped, storage is full or out of reach, or the
      process received SIGTERM (train/exits.py).
    UserError: no checkpoint is intact, or the checkpoints do not fit the config.
  """
  # Build.
  mesh = make_mesh(config.mesh)
  optimizer = make_optimizer(config.optimizer, config.num_steps)
  sizes = {'vocab_size': vocab_size, 'batch_size': config.batch_size, 'seed': seed}
  start = functools.partial(initial_state, model, optimizer, **sizes)
  graphdef, shapes = jax.eval_shape(start)
  places = shardings(shapes, mesh)
  if config.optimizer.trained != 'all':
    console.say(parameter_groups.described(shapes.params, config.optimizer.trained))

  # Restore.
  checkpoints = Checkpoints(workdir / 'checkpoints', warn=console.say)
  restored = checkpoints.restore(shapes, places)
  if restored:
    state, saved = restored
    console.say(f'resuming from checkpoint {saved["data_position"]}')
  else:
    # The state is drawn below.
    state, saved = shapes, {'data_position': 0, 'totals': {}, 'best': None}
  run = Run(
    mesh=mesh,
    graphdef=graphdef,
    num_steps=config.num_steps,
    step=saved['data_position'],
    state=state,
    totals=Totals(saved['totals']),
    best=comparable(saved['best'] and Best(*saved['best']), measured_on, console.say),
    measured_on=measured_on,
    metrics=MetricsFile(workdir, step=saved['data_position']),
  )
  if run.finished:
    run.metrics.close()
    return run

  # Compile. Meanwhile the parameters of a new run are drawn, which compiles programs too.
  stream = batches(run.step)
  batch = put_batch(next(stream), mesh, config.batch_size)
  console.status('compiling the training step')
  with futures.ThreadPoolExecutor(1) as pool:
    drawing = None if restored else pool.submit(start, places=places)
    abstract = jax.tree.map(lambda leaf, place: leaf.update(sharding=place), shapes, places)
    constants = put_constants(transformer.merge(graphdef, shapes.params).constants(), mesh)
    step = make_train_step(
      graphdef,
      config.optimizer,
      config.num_steps,
      places,
      accumulate_steps=config.accumulate_steps,
      max_skipped_steps=config.max_skipped_steps if config.on_nonfinite == 'skip' else 0,
    )
    train_step = step.lower(abstract, batch, constants).compile()
  if drawing is not None:
    _, state = drawing.result()
    run.state = dataclasses.replace(state, params=replaced(state.params, initial or {}))

  # Loop.
  save = Save(config.checkpoint_every, checkpoints)
  status = StatusLine(console, step=run.step, num_steps=run.num_steps)
  hooks = [status, Every(config.log_every, log), *hooks, save]
  reports = Reports(run, flops_per_token=flops_per_token, say=console.say)
  try:
    with (
      Termination(checkpoints.last) as termination,
      Profile(config.profile_steps, workdir / 'profile') as profile,
    ):
      while not run.ended:
        with profile.step(run):
          run.state, report = train_step(run.state, batch, constants)
        run.step += 1
        run.stopping = termination.requested(run.step)
        reports.add(report)
        batch = put_batch(reports.wait_for(stream), mesh, config.batch_size)
        for hook in hooks:
          if hook.due(run):
            reports.catch_up()
            hook(run)
            reports.restart_clock()
  except NotFiniteError as error:
    checkpoints.wait()  # The step before may be one that is being saved.
    run.step, run.state = error.step - 1, dataclasses.replace(run.state, finite=~run.state.finite)
    save(run)
    checkpoints.wait()
    raise
  except BaseException:
    if jax.process_count() == 1:  # Others, which may have no error, would have to answer.
      checkpoints.wait()
    raise
  checkpoints.wait()
  run.metrics.close()
  if termination.received:
    raise Terminated(
      f'received SIGTERM; checkpoint {run.step} is saved, run the same command again to resume'
    )
  return run
