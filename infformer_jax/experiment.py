"""One experiment: all that a run is told, and what must fit together."""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

from infformer_jax.config import stored_config
from infformer_jax.config.parsing import Overrides, load_config, override
from infformer_jax.data.base import DataConfig
from infformer_jax.errors import ConfigError
from infformer_jax.evaluation.perplexity import EvaluationConfig
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.train.loop import TrainConfig

MAY_CHANGE_IN_TRAINING = (
  'train.num_steps',
  'train.log_every',
  'train.evaluate_every',
  'train.checkpoint_every',
  'evaluation',
)
"""What may differ between two runs in one work directory: how long, and what is looked at how often."""

MAY_CHANGE_IN_EVALUATION = (
  *MAY_CHANGE_IN_TRAINING,
  'model.memory',
  'model.short_term_length',
  'model.window',
  'model.clamp_length',
  'data',
)
"""What may differ between a model's training and its evaluation, as long as the parameters fit."""

FEW_DOCUMENTS = 4
"""Of fewer per lane a training warns: half a one did harm, 13 and 17 did not; between is not measured."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
  """Every part has its own section and checks itself; what is here concerns several."""

  seed: int = 0  # of the parameters, of the order of documents and of all that is drawn
  # A work directory whose last checkpoint's parameters a new run starts with; what it lacks stays fresh. The
  # optimizer, the data and the memories begin anew.
  init_from: str | None = None
  model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
  data: DataConfig
  train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
  evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)

  def __post_init__(self) -> None:
    if not 0 <= self.seed < 2**32:
      raise ConfigError(f'seed = {self.seed} is not in [0, 2^32)')
    try:
      self.data.check(self.model.segment_length)
    except ConfigError as error:
      raise ConfigError(f'data.{error}') from None
    if (tokens := self.train.max_document_tokens) is not None:
      self._check_pieces(tokens)

  def _check_pieces(self, tokens: int) -> None:
    length, what = self.model.segment_length, f'train.max_document_tokens = {tokens}'
    if self.data.whole:
      raise ConfigError(
        f"{what}: documents of data.kind = '{self.data.kind}' cannot be cut, since answers would lose their "
        'questions; use none'
      )
    if tokens < 4 or tokens % length:  # Just above a multiple, pieces would end in a segment of padding.
      enough = -(-max(4, tokens) // length) * length
      raise ConfigError(f'{what} is not a multiple of model.segment_length = {length}; use {enough}')

  def warnings(self, document_tokens: float) -> list[str]:
    """What is allowed and perhaps not meant, given the mean length of a training document."""
    found = [f'model.memory.{warning}' for warning in self.model.memory.warnings()]
    if self.model.memory.learns_writes:
      found += self._gradient_stops()
    if self.model.memory.mixes_all and not self.data.whole:
      found += self._few_documents(document_tokens)
    return found

  def _gradient_stops(self) -> Iterator[str]:
    segments = self.train.segments_per_chunk
    needed = self.model.memory.lag(self.model.segment_length, self.model.short_term_length) + 1
    if segments < needed:
      yield (
        f'train.segments_per_chunk = {segments}: what the memory holds at a read was written in an earlier '
        f'chunk, so no gradient reaches the layers that made it; with {needed} or more it does'
      )

  def _few_documents(self, document_tokens: float) -> Iterator[str]:
    steps, length = self.train.num_steps, self.model.segment_length
    segments = steps * self.train.segments_per_chunk
    met = segments * length / document_tokens
    pieces = segments // (4 * FEW_DOCUMENTS)  # in segments: so long that a lane meets four times as many
    if met < FEW_DOCUMENTS and pieces > self.train.segments_per_chunk:  # A shorter training is a trial.
      yield (
        f'in train.num_steps = {steps} steps a lane meets about {met:.2g} documents: of so few a memory '
        'learns little but which one it is in, and does harm in others (docs/results.md, PG-19); '
        f'train.max_document_tokens = {pieces * length} cuts them into more'
      )


def load_experiment(config: str, overrides: Overrides = ()) -> Experiment:
  """The experiment of a config file.

  Args:
    config: FILE or FILE:argument, such as 'configs/pg19.py:size=tiny'.
    overrides: dotted keys and their values as text.
  Raises:
    ConfigError: there is no such file, or the config is not valid.
  """
  return load_config(config, overrides, cls=Experiment)


def resolve_experiment(
  config: str | None, overrides: Overrides, workdir: pathlib.Path, *, may_change: Sequence[str]
) -> Experiment:
  """The requested experiment; if the work directory already has one, they must agree.

  Args:
    config: FILE or FILE:argument; None: the work directory's own config.
    overrides: dotted keys and their values as text.
    workdir: may have a config.json.
    may_change: keys and sections that may differ from the work directory's.
  Raises:
    ConfigError: the requested config is not valid, or differs.
  """
  file = workdir / 'config.json'
  before = stored_config.load(Experiment, file) if file.is_file() else None
  if config is not None:
    asked = load_experiment(config, overrides)
  elif before is not None:
    asked = override(before, overrides)
  else:
    raise ConfigError(
      f'{workdir} has no config.json yet; say what to train, as --config=configs/quickstart.py'
    )
  different = stored_config.differences(before, asked, except_for=may_change) if before else []
  if different:
    raise ConfigError(
      f'{workdir} is the work of another config: {"; ".join(different)}; use another --workdir'
    )
  return asked
