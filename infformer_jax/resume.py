"""What a run shares with the one that it resumes: the content of its data, and the parameters of `init_from`.

W/data.json records both. Their paths may change, because the content is compared.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from etils import epath

from infformer_jax import initial
from infformer_jax.console import Console
from infformer_jax.data.base import Corpus, DataConfig
from infformer_jax.data.tokenizer import Tokenizer
from infformer_jax.errors import UserError
from infformer_jax.experiment import Experiment
from infformer_jax.files import read_json
from infformer_jax.initial import Source
from infformer_jax.train import restore
from infformer_jax.train.checkpoint import Checkpoints
from infformer_jax.train.checksum import described
from infformer_jax.train.mesh import make_mesh
from infformer_jax.types import Array

_PARAMETERS = 'init_from_sha256'


def require_initial_parameters(experiment: Experiment, workdir: epath.Path) -> None:
  """Checks that `init_from` can be read, for a run that has no checkpoint yet. No array is read.

  Raises:
    UserError: it cannot.
  """
  if experiment.init_from is not None and not _has_checkpoint(workdir):
    initial.source(experiment.init_from).require(experiment.model)


class Start(NamedTuple):
  """What a run without a checkpoint starts from."""

  source: Source
  tokenizer: Tokenizer | None  # that of the source, if it is known


def start(experiment: Experiment, workdir: epath.Path) -> Start | None:
  """The source of `init_from` and its tokenizer, for a run that has no checkpoint yet. The data are not read.

  Raises:
    UserError: there is none, or the data have another tokenizer.
  """
  if experiment.init_from is None or _has_checkpoint(workdir):
    return None
  source = initial.source(experiment.init_from)
  return Start(source, source.tokenizer(experiment.data))


def initial_parameters(
  experiment: Experiment, workdir: epath.Path, corpus: Corpus, start: Start | None, console: Console
) -> dict[str, Array] | None:
  """The parameters of `init_from` by name, for a run that has no checkpoint yet.

  Args:
    experiment: of the run.
    workdir: W.
    corpus: the data of the run.
    start: the result of `start`.
    console: takes a line about the parameters.
  Raises:
    UserError: the tokenizers differ, or as `Source.parameters`.
  """
  if start is None:
    return None
  if start.tokenizer is not None and start.tokenizer.identity != corpus.tokenizer.identity:
    raise start.source.another_tokenizer(workdir)
  size, mesh = corpus.tokenizer.vocab_size, make_mesh(experiment.train.mesh)
  return start.source.parameters(experiment.model, vocab_size=size, mesh=mesh, say=console.say)


def data_record(
  experiment: Experiment,
  workdir: epath.Path,
  corpus: Corpus,
  given: Mapping[str, Array] | None,
  like: epath.Path | None = None,
) -> dict[str, Any]:
  """The content of W/data.json, which agrees with what is there now.

  A stream position is only valid for the same documents, and embeddings only for the same tokenizer. The
  parameters of `init_from` are compared if they are read now, or if their path has changed; otherwise they
  may have been deleted.

  Args:
    experiment: of the run.
    workdir: W.
    corpus: the data of the run.
    given: the result of `initial_parameters`.
    like: the work directory of another run; a new run must agree with it in the documents of all splits.
  Raises:
    UserError: training documents, tokenizer or initial parameters differ.
  """
  own, now = workdir / 'data.json', corpus.fingerprint
  file = own if own.exists() or like is None else like / 'data.json'
  before = read_json(file, {'splits': dict, 'tokenizer_sha256': str}) if file.exists() else None
  if before is not None:
    for split in ['train'] if file == own else sorted(before['splits'].keys() & now['splits'].keys()):
      what = 'training documents' if split == 'train' else f"documents of the split '{split}'"
      old, new = _read(before['splits'].get(split)), _read(now['splits'][split])
      _require_equal(f'{what} have', _source(experiment.data), old, new, file)
    key = f"data.tokenizer = '{experiment.data.tokenizer}'"
    _require_equal('tokenizer has', key, before['tokenizer_sha256'], now['tokenizer_sha256'], file)
  sha256 = _initial_sha256(experiment, workdir, (before or {}).get(_PARAMETERS), given, file)
  return now | ({_PARAMETERS: sha256} if sha256 else {})


def _has_checkpoint(workdir: epath.Path) -> bool:
  return bool(Checkpoints(workdir / 'checkpoints', warn=lambda line: None).steps())


def _read(split: dict[str, Any] | None) -> dict[str, Any] | None:
  """The facts of a split except for skipped documents: an empty file changes nothing."""
  return split and {name: value for name, value in split.items() if not name.startswith('skipped')}


def _source(config: DataConfig) -> str:
  """The keys that say where the data are, with their values."""
  paths = {f'data.{name}': getattr(config, name) for name in config.paths}
  given = {key: path for key, path in paths.items() if path is not None} or {'data.kind': config.kind}
  return ', '.join(f"{key} = '{value}'" for key, value in given.items())


def _require_equal(what: str, key: str, old: Any, new: Any, file: epath.Path) -> None:
  if old != new:
    raise UserError(
      f'the {what} changed since {file} was written ({key}): {_change(old, new)}; '
      'give those of the run, or use another --workdir'
    )


def _change(old: Any, new: Any) -> str:
  """The facts that differ, or the first digits of two hashes."""
  if isinstance(old, dict) and isinstance(new, dict):
    names = [name for name in new if new[name] != old.get(name)]
    return ', '.join(f'{name} {_change(old.get(name), new[name])}' for name in names)
  return f'{str(new)[:12]}, not {str(old)[:12]}'


def _initial_sha256(
  experiment: Experiment,
  workdir: epath.Path,
  recorded: str | None,
  given: Mapping[str, Array] | None,
  file: epath.Path,
) -> str | None:
  """The hash of the parameters that the run started from; None if it is not known, or there are none."""
  source, config = experiment.init_from, workdir / 'config.json'
  if source is None:
    return None
  if given is not None:
    found, remedy = [restore.parameters_sha256(described(given))], 'give those of the run'
  else:
    before = read_json(config).get('init_from') if config.exists() else source
    if before == source:
      return recorded
    found = initial.source(source).sha256(experiment.model)
    remedy = f'use init_from = {before}, which is not read again'
    if recorded is None:  # An earlier version of the package started the run.
      raise UserError(
        f'init_from = {source} cannot be compared with {before}: {file} has no {_PARAMETERS}; {remedy}'
      )
  if recorded not in (None, *found):
    raise UserError(
      f'init_from = {source} does not have the parameters from which the run of {file} started; '
      f'{remedy}, or use another --workdir'
    )
  return recorded or found[0]
