"""From a config to a corpus: tokenizer, splits and their fingerprint."""

from collections.abc import Collection

from etils import epath

from infformer_jax.data.base import Corpus, DataConfig, missing_split
from infformer_jax.data.left_out import counted, described
from infformer_jax.data.tokenizer import Tokenizer
from infformer_jax.data.tokenizers import are_files_of_one_kind
from infformer_jax.errors import ConfigError, UserError
from infformer_jax.files import read_json


def load_corpus(config: DataConfig, workdir: epath.Path, splits: Collection[str] | None = None) -> Corpus:
  """Loads the data; what is stored as text is tokenized, or its tokens are found in the cache.

  Args:
    config: of a registered kind.
    workdir: W; a trained tokenizer is kept there, and nothing in W is data.
    splits: the splits to load; None: all.
  Raises:
    ConfigError: the data have no such split.
    UserError: data or tokenizer are missing or damaged; names the file and the remedy.
  """
  source = config.source(workdir)
  tokenizer = source.tokenizer()
  available = source.splits(tokenizer)
  for name in splits or ():
    if name not in available:
      raise ConfigError(f'{missing_split(name, available)}{described(source.left_out)}')
  loaded = {name: load() for name, load in available.items() if splits is None or name in splits}
  facts = {name: facts for name, (_, facts) in loaded.items()}
  counts = [f'{name} {f["tokens"]:,} tokens in {f["documents"]:,} documents' for name, f in facts.items()]
  return Corpus(
    tokenizer=tokenizer,
    splits={name: split for name, (split, _) in loaded.items()},
    fingerprint={
      'kind': config.kind,
      **source.facts,
      'tokenizer': config.tokenizer,
      'tokenizer_sha256': tokenizer.identity,
      'splits': facts,
      'left_out': counted(source.left_out),
    },
    note=f'{config.kind}, {config.tokenizer}: {"; ".join(counts)}{described(source.left_out)}',
  )


def trained_tokenizer(config: DataConfig, workdir: epath.Path) -> Tokenizer:
  """The tokenizer that the model in a work directory was trained with. The data themselves are not read.

  Raises:
    ConfigError: the config names another tokenizer.
    UserError: the work directory or the tokenizer is missing or damaged.
  """
  file = workdir / 'data.json'
  if not file.is_file():
    raise UserError(f'{file} does not exist; use the work directory of a training run')
  before = read_json(file, {'tokenizer': str, 'tokenizer_sha256': str})
  old = before['tokenizer']
  # A tokenizer that is trained on the data can only be the saved one.
  other = config.tokenizer != old and config.tokenizer.startswith('bpe:')
  tokenizer = None if other else config.source(workdir).tokenizer()
  if tokenizer is None or tokenizer.identity != before['tokenizer_sha256']:
    moved = are_files_of_one_kind(config.tokenizer, old)
    raise ConfigError(
      f"data.tokenizer = '{config.tokenizer}' must be the tokenizer of the model in {workdir}; "
      + (f'give the files that {old} had' if moved else f'use --config.data.tokenizer={old}')
    )
  return tokenizer
