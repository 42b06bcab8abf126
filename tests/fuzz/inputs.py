"""Small valid inputs of the command lines by kind, and how the command lines read each of them."""

import dataclasses
import gzip
import json
import pathlib
import shutil
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
import pyarrow
from etils import epath
from pyarrow import parquet

from infformer_jax import TrainedModel, resume
from infformer_jax.data import pg19, text_files
from infformer_jax.data.base import DataConfig
from infformer_jax.data.folders import Copies
from infformer_jax.data.load import load_corpus, trained_tokenizer
from infformer_jax.data.pg19 import Pg19Config
from infformer_jax.data.text import TextConfig
from infformer_jax.data.tfds import TfdsConfig
from infformer_jax.data.wikitext import WikitextConfig
from infformer_jax.experiment import Experiment, resolve_experiment
from infformer_jax.files import write_json
from infformer_jax.pretrained import Checkpoint
from infformer_jax.train.checkpoint import Checkpoints
from infformer_jax.train.loop import TrainConfig
from infformer_jax.train.mesh import make_mesh
from infformer_jax.train.orbax_log import silence_orbax
from infformer_jax.train.state import initial_state
from tests import toy
from tests.data import books, test_pretrained_tokenizer, test_tokenizers, texts
from tests.pretrained import golden

ARTICLES = ' \n = One = \n \n one two three\n = = Part = = \n four\n \n = Two = \n \n five six\n'
MODEL = toy.config(toy.MEMORIES['continuous'])


class Kind(NamedTuple):
  """One kind of input."""

  build: Callable[[pathlib.Path], Any]  # writes it into a new folder, which may be copied
  read: Callable[[pathlib.Path, pathlib.Path], Any]  # returns what it has, given the folder and an empty one
  damaged: str = '.'  # the part of the folder that may be damaged
  restores: bool = False  # whether the same is read from a damaged folder
  # Whether a file may be a pipe. Orbax waits for one, in C++, and cannot be interrupted.
  pipes: bool = True


def _text(folder: pathlib.Path) -> None:
  content = {'train/a': 'one two', 'train/sub/b': 'three\r\nfour', 'validation/c': 'five é', 'd': 'six'}
  texts.write(folder, content)


def _hashed(folder: pathlib.Path) -> None:
  texts.write(folder, {name: f'text {name}' for name in 'abc'})
  (folder / 'd.txt.gz').write_bytes(gzip.compress(b'seven eight'))


def _records(folder: pathlib.Path) -> None:
  lines = [json.dumps({'text': f'text {i}', 'id': i}) for i in range(6)]
  (folder / 'a.jsonl').write_text('\n'.join(lines[:4]))
  (folder / 'b.jsonl.gz').write_bytes(gzip.compress('\n'.join(lines[4:]).encode()))
  parquet.write_table(pyarrow.table({'text': ['nine', 'ten'], 'n': [1, 2]}), folder / 'c.parquet')
  with pyarrow.output_stream(folder / 'd.jsonl.zst', compression='zstd') as stream:
    stream.write('\n'.join(lines[:2]).encode())


def _wikitext(folder: pathlib.Path) -> None:
  for split in ('train', 'valid', 'test'):
    (folder / f'wiki.{split}.tokens').write_text(ARTICLES)


def _prepared(folder: pathlib.Path) -> None:
  assert books.run(books.write_books(folder.with_name(f'{folder.name}_books')), folder) == 0


def _corpus(config: Callable[..., DataConfig]) -> Callable[[pathlib.Path, pathlib.Path], Any]:
  """All documents of a corpus, by `config(folder, ...)`."""

  def read(folder: pathlib.Path, scratch: pathlib.Path) -> Any:
    asked = config(folder, cache_dir=str(scratch / 'cache'), tokenizer='bytes')
    corpus = load_corpus(asked, epath.Path(scratch / 'W'))
    json.dumps(corpus.fingerprint)
    return {
      name: [bytes(split.tokens(i).astype(np.uint8)) for i in range(len(split))]
      for name, split in corpus.splits.items()
    }

  return read


def _at(cls: Any, key: str = 'source_dir', below: str = '', **others: str) -> Callable[..., DataConfig]:
  return lambda folder, **settings: cls(**{key: f'{folder}{below}'}, **others, **settings)


def _pg19(folder: pathlib.Path, scratch: pathlib.Path) -> Any:
  copies = Copies(scratch, 'data.cache_dir')
  found = pg19.books(epath.Path(folder), workdir=None, key='--source_dir', copies=copies)
  facts = pg19.metadata(folder) if pg19.METADATA in found.files.stats else None
  return _corpus(_at(Pg19Config))(folder, scratch), facts


def _cache(folder: pathlib.Path) -> None:
  (folder / 'texts').mkdir()
  _text(folder / 'texts')
  _cached(folder, folder)


def _cached(folder: pathlib.Path, scratch: pathlib.Path) -> Any:
  config = TextConfig(source_dir=str(folder / 'texts'), tokenizer='bpe:300', cache_dir=str(folder / 'cache'))
  corpus = load_corpus(config, epath.Path(scratch / 'W'))
  return {
    name: [split.tokens(i).tolist() for i in range(len(split))] for name, split in corpus.splits.items()
  }


def _tokenizer(spec: str) -> Callable[[pathlib.Path, pathlib.Path], Any]:
  def read(folder: pathlib.Path, scratch: pathlib.Path) -> Any:
    config = TextConfig(source_dir='nowhere', tokenizer=f'{spec}:{folder}' if spec[:3] != 'bpe' else spec)
    if spec == 'sentencepiece':
      config = dataclasses.replace(config, tokenizer=f'{spec}:{folder}/own.model')
    tokenizer = config.source(epath.Path(folder)).tokenizer()
    ids = tokenizer.encode('one two\n\n é')
    pieces = tokenizer.pieces(range(min(tokenizer.vocab_size, 500)))
    return ids.tolist(), tokenizer.decode(ids), pieces, tokenizer.bos_id

  return read


def _pretrained_tokenizer(folder: pathlib.Path) -> None:
  test_pretrained_tokenizer.write(folder, {'model_type': 'llama', 'vocab_size': 310, 'bos_token_id': 300})


def _two_files(folder: pathlib.Path) -> None:
  test_tokenizers.write_gpt2(folder)
  (folder / 'encoder.json').rename(folder / 'vocab.json')
  (folder / 'vocab.bpe').rename(folder / 'merges.txt')
  rows = len(json.loads((folder / 'vocab.json').read_text()))
  write_json(folder / 'config.json', {'model_type': 'gpt2', 'vocab_size': rows, 'eos_token_id': rows - 1})


def _golden(name: str, *, shards: bool = False) -> Callable[[pathlib.Path], None]:
  def build(folder: pathlib.Path) -> None:
    shutil.copytree(golden.FOLDER / name, folder, dirs_exist_ok=True)
    (folder / 'case.npz').unlink()
    if shards:
      golden.shard(folder)

  return build


def _checkpoint(folder: pathlib.Path, scratch: pathlib.Path) -> Any:
  del scratch
  checkpoint = Checkpoint(folder)
  model = checkpoint.model_config(segment_length=4, short_term_length=4, window='block')
  checkpoint.require_fit(model, checkpoint.vocab_size)
  return {name: np.asarray(array).tobytes() for name, array in checkpoint.parameters(model, make_mesh())}


def _workdir(folder: pathlib.Path) -> None:
  """The work directory of a run, W, beside its texts."""
  (folder / 'texts').mkdir()
  _text(folder / 'texts')
  data = TextConfig(source_dir='texts', tokenizer='bpe:300', cache_dir='cache')
  write_json(folder / 'W' / 'config.json', dataclasses.asdict(Experiment(model=MODEL, data=data)))
  corpus = load_corpus(_here(data, folder), epath.Path(folder / 'W'))
  write_json(folder / 'W' / 'data.json', corpus.fingerprint)


def _here(data: Any, folder: pathlib.Path) -> DataConfig:
  return dataclasses.replace(data, source_dir=str(folder / 'texts'), cache_dir=str(folder / 'cache'))


def _resumed(folder: pathlib.Path, scratch: pathlib.Path) -> Any:
  """What a run reads that goes on, and what an evaluation and a generation read."""
  del scratch
  workdir = epath.Path(folder / 'W')
  overrides = [('data.source_dir', str(folder / 'texts')), ('data.cache_dir', str(folder / 'cache'))]
  experiment = resolve_experiment(None, overrides, workdir, may_change=('data',))
  tokenizer = trained_tokenizer(experiment.data, workdir)
  corpus = load_corpus(experiment.data, workdir)
  resume.start(experiment, workdir)
  json.dumps(resume.data_record(experiment, workdir, corpus, None))
  return experiment.seed, tokenizer.identity


def _trained(folder: pathlib.Path) -> None:
  """A work directory with two checkpoints."""
  silence_orbax()
  _, state = initial_state(MODEL, optax.sgd(0.1), vocab_size=toy.VOCABULARY, batch_size=2, seed=0)
  checkpoints = Checkpoints(folder / 'checkpoints', warn=print)
  for step in (3, 7):
    checkpoints.save(step, state, {'data_position': step, 'totals': {}, 'best': None}, best=None)
  checkpoints.wait()
  write_json(folder / 'config.json', {'seed': 0, 'model': dataclasses.asdict(MODEL)})


def _loaded(folder: pathlib.Path, scratch: pathlib.Path) -> Any:
  del scratch
  trained = TrainedModel.load(folder, warn=lambda line: None)
  return trained.step, [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(trained.params)]


def _config(folder: pathlib.Path) -> None:
  experiment = Experiment(model=MODEL, data=TextConfig(source_dir='texts'), train=TrainConfig())
  write_json(folder / 'config.json', dataclasses.asdict(experiment))


KINDS = {
  'text': Kind(_text, _corpus(_at(TextConfig))),
  'hashed text': Kind(_hashed, _corpus(_at(TextConfig))),
  'glob': Kind(_hashed, _corpus(_at(TextConfig, below='/**/*.txt*'))),
  'records': Kind(_records, _corpus(_at(TextConfig))),
  'wikitext': Kind(_wikitext, _corpus(_at(WikitextConfig))),
  'pg19': Kind(books.write_books, _pg19),
  'prepared pg19': Kind(_prepared, _corpus(_at(Pg19Config, 'data_dir'))),
  'tfds': Kind(_prepared, _corpus(_at(TfdsConfig, below='/pg19/0.1.1', text_feature='book_title'))),
  'cache': Kind(_cache, _cached, damaged='cache', restores=True),
  'bpe': Kind(lambda folder: test_tokenizers.make_bpe(folder), _tokenizer('bpe:300')),
  'gpt2': Kind(lambda folder: test_tokenizers.write_gpt2(folder), _tokenizer('gpt2')),
  'sentencepiece': Kind(
    lambda folder: test_tokenizers.write_sentencepiece(folder / 'own.model'), _tokenizer('sentencepiece')
  ),
  'pretrained tokenizer': Kind(_pretrained_tokenizer, _tokenizer('pretrained')),
  'pretrained tokenizer of two files': Kind(_two_files, _tokenizer('pretrained')),
  'gpt2 checkpoint': Kind(_golden(golden.GPT2), _checkpoint),
  'llama checkpoint': Kind(_golden(golden.LLAMA, shards=True), _checkpoint),
  'qwen2 checkpoint': Kind(_golden(golden.QWEN2), _checkpoint),
  'resumed run': Kind(_workdir, _resumed, damaged='W'),
  'config': Kind(_config, lambda folder, _: resolve_experiment(None, [], epath.Path(folder), may_change=())),
  'trained model': Kind(_trained, _loaded, pipes=False),
  'prompt': Kind(
    lambda folder: texts.write(folder, {'prompt': 'one\r\ntwo é'}),
    lambda folder, _: text_files.read_utf8(folder / 'prompt.txt'),
    pipes=False,  # A prompt may come from one.
  ),
}
