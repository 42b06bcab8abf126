"""One experiment: the whole config of a run, and the rules between its sections."""

import dataclasses
from collections.abc import Iterator, Sequence

from etils import epath

from infformer_jax import hub
from infformer_jax.config import stored_config
from infformer_jax.config.parsing import Overrides, load_config, override
from infformer_jax.data import tokenizers
from infformer_jax.data.base import DataConfig
from infformer_jax.errors import ConfigError, check_range
from infformer_jax.evaluation.perplexity import EvaluationConfig
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.train import parameter_groups
from infformer_jax.train.loop import TrainConfig

MAY_CHANGE_IN_TRAINING = (
  'train.num_steps',
  'train.accumulate_steps',
  'train.on_nonfinite',
  'train.max_skipped_steps',
  'train.profile_steps',
  'train.log_every',
  'train.evaluate_every',
  'train.checkpoint_every',
  'train.mesh',
  'evaluation',
  'data.cache_dir',
)
"""What may differ between a run and the one that resumes it: its length, how its steps are computed, what a
value that is not finite does, intervals of hooks, the mesh, the cache."""

MAY_CHANGE_IN_EVALUATION = (
  *MAY_CHANGE_IN_TRAINING,
  'model.memory',
  'model.short_term_length',
  'model.max_positions',
  'model.window',
  'model.clamp_length',
  'model.compute_dtype',
  'data',
)
"""What may differ between the training of a model and its evaluation, if the parameters are the same."""

MOST_TOKENS = 2**31 - 1
"""Of a chunk of all lanes: indices have 32 bits."""

FEW_DOCUMENTS = 4
"""A run with fewer documents per lane warns: half a document was harmful, 13 and 17 were not; values in
between were not measured."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
  """Every section checks itself; this class checks what concerns several sections."""

  seed: int = 0  # of the parameters, the order of documents and all other random draws
  # A work directory or a pretrained checkpoint (hub.py): a new run starts with the parameters of its last
  # checkpoint, and with fresh ones where it has none. The optimizer, the data and the memories start from the
  # beginning.
  init_from: str | None = None
  model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
  data: DataConfig
  train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
  evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)

  def __post_init__(self) -> None:
    check_range('seed', self.seed, 0, 2**32 - 1)
    if self.init_from is not None:
      hub.check(self.init_from, 'init_from')
    try:
      self.data.check(self.model.segment_length)
    except ConfigError as error:
      raise ConfigError(f'data.{error}') from None
    parameter_groups.require_some(self.model, self.train.optimizer.trained)
    if (tokens := self.train.max_document_tokens) is not None:
      self._check_document_tokens(tokens)
    for name, section in (('train', self.train), ('evaluation', self.evaluation)):
      self._check_size_of_chunk(name, section.batch_size, section.segments_per_chunk)

  def _check_document_tokens(self, tokens: int) -> None:
    length, what = self.model.segment_length, f'train.max_document_tokens = {tokens}'
    if self.data.indivisible:
      raise ConfigError(
        f"{what} must be None with data.kind = '{self.data.kind}', because an answer needs its "
        'question in the same document'
      )
    if tokens < 4 or tokens % length:  # Otherwise every piece would end in padding.
      enough = -(-max(4, tokens) // length) * length
      raise ConfigError(f'{what} must be a multiple of model.segment_length = {length}; use {enough}')

  def _check_size_of_chunk(self, name: str, lanes: int, segments: int) -> None:
    length = self.model.segment_length
    if lanes * segments * length > MOST_TOKENS:
      raise ConfigError(
        f'{name}.batch_size = {lanes} times {name}.segments_per_chunk = {segments} times '
        f'model.segment_length = {length} must be at most {MOST_TOKENS:,} tokens; use smaller ones'
      )

  def warnings(self, document_tokens: float) -> list[str]:
    """Warnings about settings that are allowed but probably not intended.

    Args:
      document_tokens: the mean length of a training document.
    """
    lines = [f'model.memory.{warning}' for warning in self.model.memory.warnings()]
    if self.model.memory.traits.learns_writes:
      lines += self._gradient_stops()
    if self.model.memory.traits.mixes_all and not self.data.indivisible and self.init_from is None:
      lines += self._few_documents(document_tokens)
    return lines

  def _gradient_stops(self) -> Iterator[str]:
    segments = self.train.segments_per_chunk
    needed = self.model.memory.lag(self.model.segment_length, self.model.short_term_length) + 1
    if segments < needed:
      yield (
        f'train.segments_per_chunk = {segments}: the memory contents read in a chunk were written in '
        f'an earlier chunk, so no gradient reaches the layers below; use {needed} or more'
      )

  def _few_documents(self, document_tokens: float) -> Iterator[str]:
    steps, length = self.train.num_steps, self.model.segment_length
    segments = steps * self.train.segments_per_chunk
    met = segments * length / document_tokens
    shorter = segments // (4 * FEW_DOCUMENTS)  # in segments; gives a lane four times FEW_DOCUMENTS
    if met < FEW_DOCUMENTS and shorter > self.train.segments_per_chunk:  # Shorter runs are trials.
      yield (
        f'train.num_steps = {steps}: a lane reads about {met:.2g} documents; with so few documents '
        'a memory that is trained together with the model mostly learns to identify the document, and hurts '
        f'on new ones (docs/text.md, Books); use train.max_document_tokens = {shorter * length}, or join a '
        'trained model (init_from)'
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
  config: str | None, overrides: Overrides, workdir: epath.Path, *, may_change: Sequence[str]
) -> Experiment:
  """The requested experiment; if the work directory already has one, they must agree.

  Paths may differ, because their content is compared when it is read (resume.py).

  Args:
    config: FILE or FILE:argument; None: the work directory's own config.
    overrides: dotted keys and their values as text.
    workdir: may have a config.json.
    may_change: keys and sections that may differ from the work directory's.
  Raises:
    ConfigError: the requested config is not valid, or differs.
  """
  file = workdir / 'config.json'
  before = stored_config.read_config(Experiment, file) if file.exists() else None
  if config is not None:
    asked = load_experiment(config, overrides)
  elif before is not None:
    asked = override(before, overrides)
  else:
    raise ConfigError(
      f'{workdir} has no config.json yet; use the --workdir of a run, or start one with --config, '
      'for example --config=configs/quickstart.py'
    )
  except_for = (*may_change, *_paths(before, asked)) if before else ()
  different = stored_config.differences(before, asked, except_for=except_for) if before else []
  if different:
    raise ConfigError(
      f'{workdir} was made with another config: {"; ".join(different)}; '
      'restore these settings, or use another --workdir'
    )
  return asked


def _paths(before: Experiment, asked: Experiment) -> Iterator[str]:
  """The keys that are paths in both experiments."""
  yield from (f'data.{name}' for name in asked.data.paths)
  if tokenizers.are_files_of_one_kind(before.data.tokenizer, asked.data.tokenizer):
    yield 'data.tokenizer'
  if before.init_from is not None and asked.init_from is not None:
    yield 'init_from'
