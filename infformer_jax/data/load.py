"""From a config to a corpus: documents, tokenizer, splits."""

import json
import pathlib
from collections.abc import Collection, Iterator

import tqdm

from infformer_jax.data import files, registry, token_cache, tokenizers
from infformer_jax.data.base import Corpus, DataConfig, Documents
from infformer_jax.data.tasks import Task, TaskConfig
from infformer_jax.errors import ConfigError, UserError, unknown

_TRAINING_CHARACTERS = 2**28  # What 'bpe:N' learns from at most; more changes little and takes its time.


def load_corpus(config: DataConfig, cache_dir: pathlib.Path, splits: Collection[str] | None = None) -> Corpus:
  """Reads and tokenizes the data, or finds them tokenized.

  Args:
    config: one of the registry's.
    cache_dir: the work directory's tokens/, where tokenizer and tokens are kept.
    splits: those wanted; None: all. The others are not tokenized.
  Raises:
    ConfigError: the data have no such split.
    UserError: data or tokenizer are missing or damaged; says which file, and what helps.
  """
  source = registry.source(config)
  if isinstance(source, Task):
    return source.corpus(splits)
  tokenizer = tokenizers.from_spec(config.tokenizer, cache_dir, lambda: _sample(source.training))
  documents = source.splits(tokenizer)
  for name in splits or ():
    if name not in documents:
      raise ConfigError(unknown('split of the data', name, name, documents))
  loaded = {
    name: token_cache.tokenized(own, tokenizer, cache_dir, name)
    for name, own in documents.items()
    if splits is None or name in splits
  }
  fingerprint = {
    'kind': config.kind,
    **source.facts,
    'tokenizer': config.tokenizer,
    'tokenizer_sha256': tokenizer.identity,
    'splits': {name: facts for name, (_, facts) in loaded.items()},
  }
  counts = [
    f'{name} {f["tokens"]:,} tokens in {f["documents"]:,} documents' for name, (_, f) in loaded.items()
  ]
  return Corpus(
    tokenizer=tokenizer,
    splits={name: split for name, (split, _) in loaded.items()},
    fingerprint=fingerprint,
    note=f'{config.kind}, {config.tokenizer}: {"; ".join(counts)}',
  )


def load_tokenizer(config: DataConfig, cache_dir: pathlib.Path) -> tokenizers.Tokenizer:
  """The tokenizer alone; the data are opened only if 'bpe:N' has yet to be trained."""
  if isinstance(config, TaskConfig):
    return registry.source(config).tokenizer
  return tokenizers.from_spec(config.tokenizer, cache_dir, lambda: _sample(registry.source(config).training))


def trained_tokenizer(config: DataConfig, workdir: pathlib.Path) -> tokenizers.Tokenizer:
  """The tokenizer whose ids the model in a work directory has learned.

  Raises:
    ConfigError: the config names another one.
  """
  file = workdir / 'data.json'
  try:
    before = json.loads(file.read_text(encoding='utf-8'))
  except (OSError, ValueError) as error:
    raise UserError(f'cannot read {file} ({error}); has anything been trained there?') from None
  old = before['tokenizer']
  # A tokenizer that is trained here must be there already.
  other = config.tokenizer != old and config.tokenizer.startswith('bpe:')
  tokenizer = None if other else load_tokenizer(config, workdir / 'tokens')
  if tokenizer is None or tokenizer.identity != before['tokenizer_sha256']:
    raise ConfigError(
      f"data.tokenizer = '{config.tokenizer}' is not the one that the model in {workdir} has learned; "
      f'use --config.data.tokenizer={old}'
    )
  return tokenizer


def _sample(documents: Documents) -> Iterator[str]:
  """Texts of up to _TRAINING_CHARACTERS, in an order that has nothing to do with their content."""
  order = sorted(range(len(documents)), key=lambda index: files.rank(str(index)))
  characters = 0
  for index in tqdm.tqdm(order, desc='training the tokenizer', unit=' documents', delay=2, mininterval=1):
    if characters >= _TRAINING_CHARACTERS:
      return
    text = documents[index].text
    characters += len(text)
    yield text
