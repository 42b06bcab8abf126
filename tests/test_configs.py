"""Every config file, with each of its arguments, can be trained; checked with abstract shapes only."""

import dataclasses
import inspect
import json
import pathlib
import re
import runpy

import jax
import jax.numpy as jnp
import pytest

from infformer_jax.config.parsing import config_dict, load_config
from infformer_jax.config.stored_config import from_json
from infformer_jax.data.tasks import TaskConfig
from infformer_jax.errors import ConfigError
from infformer_jax.evaluation import cost
from infformer_jax.experiment import Experiment
from infformer_jax.pretrained import published
from infformer_jax.train.optimizer import make_optimizer
from infformer_jax.train.state import initial_state
from infformer_jax.train.step import make_train_step
from infformer_jax.types import Batch

CONFIGS = pathlib.Path(__file__).parents[1] / 'configs'
KINDS = ('none', 'recent', 'compressive', 'neighbours', 'continuous')
ARGUMENTS = {
  'pg19.py': (
    *(f'memory={kind},size=tiny' for kind in KINDS),
    *(f'size={size}' for size in ('small', 'base', 'large')),
  ),
  'sort.py': (
    *(f'memory={kind},size={size}' for size in ('cpu', 'gpu', 'paper') for kind in KINDS),
    'memory=none,length=43',
    'length=600',
  ),
  'recall.py': (*(f'memory={kind},size={size}' for size in ('cpu', 'gpu') for kind in KINDS), 'task=passkey'),
  'gpt2_pg19.py': (
    'size=small',
    'size=tiny',
    *(f'size=tiny,memory={kind}' for kind in ('published_even', 'continuous_log', 'neighbours', 'none')),
  ),
  'gpt2_wikitext103.py': ('size=small', 'size=tiny'),
  'llama_books.py': (
    *(f'size={size}' for size in ('smollm2_135m', 'smollm2_360m', 'qwen2_05b', 'llama32_1b', 'tiny')),
    *(f'memory={kind},size=tiny' for kind in ('none', 'recent_4x', 'neighbours')),
  ),
  'quickstart.py': ('memory=none', 'memory=continuous_log'),
}
"""The arguments after the colon; files without an entry take no argument."""

FILES = sorted(file for file in CONFIGS.glob('*.py') if file.stem != '__init__')
ALL = [f'{file}:{a}' if a else str(file) for file in FILES for a in ARGUMENTS.get(file.name, ('',))]
# 'base' and 'large' have many layers. The larger sizes of the tasks have the same parts as size=cpu.
SLOW = re.compile(
  r'size=(base|large|smol|qwen|llama)|gpt2.*size=small|memory=(none|recent|compressive|neighbours),size=(gpu|paper)'
)
STEPS = [pytest.param(p, marks=[pytest.mark.slow] if SLOW.search(p) else []) for p in ALL]


def name_of(path: str) -> str:
  return path.rpartition('/')[2]


def documentation(path: str) -> str:
  return runpy.run_path(path.partition(':')[0])['__doc__']


def batch_of(lanes: int, segments: int, length: int) -> Batch:
  tokens_bsl = jax.ShapeDtypeStruct((lanes, segments, length), jnp.int32)
  per_segment_bs = jax.ShapeDtypeStruct((lanes, segments), jnp.int32)
  return Batch(
    tokens_bsl=tokens_bsl,
    targets_bsl=tokens_bsl,
    ok_bsl=jax.ShapeDtypeStruct(tokens_bsl.shape, bool),
    group_bsl=tokens_bsl,
    new_doc_bs=jax.ShapeDtypeStruct((lanes, segments), bool),
    document_bs=per_segment_bs,
    segment_bs=per_segment_bs,
  )


def types(tree):
  return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)


def shapes(experiment: Experiment):
  """The graph definition and the shapes of the training state."""
  data, train = experiment.data, experiment.train
  if isinstance(data, TaskConfig):
    size = data.source(pathlib.Path()).tokenizer().vocab_size
  elif data.tokenizer.startswith('pretrained:'):
    places = {f'pretrained:{model.place}': model.config for model in published.MODELS.values()}
    size = places[data.tokenizer]['vocab_size']
  else:
    size = int(data.tokenizer.removeprefix('bpe:')) if data.tokenizer.startswith('bpe:') else 257
  optimizer = make_optimizer(train.optimizer, train.num_steps)
  numbers = {'vocab_size': size, 'batch_size': train.batch_size, 'seed': experiment.seed}
  return jax.eval_shape(lambda: initial_state(experiment.model, optimizer, **numbers))


@pytest.mark.parametrize('path', ALL, ids=name_of)
def test_a_config_is_unchanged_by_json(path):
  experiment = load_config(path, cls=Experiment)
  assert from_json(Experiment, json.dumps(dataclasses.asdict(experiment))) == experiment
  assert config_dict(experiment).model.memory.kind == experiment.model.memory.kind


@pytest.mark.parametrize('path', [path for path in ALL if not re.search('paper|gpt2', path)], ids=name_of)
def test_gradients_reach_the_layers_that_write_in_every_config(path):
  """Except in the published configs, which stop the gradient after every segment."""
  experiment = load_config(path, cls=Experiment)
  model = experiment.model
  lag = model.memory.lag(model.segment_length, model.short_term_length)
  assert experiment.train.segments_per_chunk >= lag + 1


@pytest.mark.parametrize('path', STEPS, ids=name_of)
def test_a_training_step_preserves_the_shapes_of_the_state(path):
  experiment = load_config(path, cls=Experiment)
  model, train = experiment.model, experiment.train
  graphdef, state = shapes(experiment)
  step = make_train_step(graphdef, train.optimizer, train.num_steps)
  batch = batch_of(train.batch_size, train.segments_per_chunk, model.segment_length)
  after, report = jax.eval_shape(step, state, batch)
  assert types(after) == types(state)
  assert report.metrics['loss_nats_per_token'][0].dtype == jnp.float32

  size = path.partition('size=')[2]
  stated = re.search(rf'^ *{size} +([\d.]+) M ', documentation(path), re.MULTILINE)
  if size and stated and ('memory' not in path or 'memory=continuous' in path):
    millions = sum(leaf.size for leaf in jax.tree.leaves(state.params)) / 1e6
    assert float(stated[1]) == pytest.approx(millions, rel=0.05)


def test_the_default_size_of_pg19_is_base():
  path = str(CONFIGS / 'pg19.py')
  assert load_config(path, cls=Experiment) == load_config(f'{path}:size=base', cls=Experiment)


@pytest.mark.parametrize('size', ['tiny', pytest.param('small', marks=pytest.mark.slow)])
def test_the_memories_of_pg19_have_the_same_bytes_and_parameters(size):
  models = {
    kind: load_config(f'{CONFIGS}/pg19.py:memory={kind},size={size}', cls=Experiment).model for kind in KINDS
  }
  costs = {kind: cost.cost(model, vocab_size=8192) for kind, model in models.items()}
  for kind in KINDS:
    like = costs['continuous']
    assert costs[kind]['num_parameters'] == pytest.approx(like['num_parameters'], rel=1e-3)
    if kind != 'none':  # With three layers, neighbours are rounded up to whole segments.
      close = 0.35 if (kind, size) == ('neighbours', 'tiny') else 0.02
      assert costs[kind]['memory_bytes_per_lane'] == pytest.approx(like['memory_bytes_per_lane'], rel=close)


@pytest.mark.parametrize(('file', 'size'), [('pg19.py', 'tiny'), ('sort.py', 'cpu'), ('recall.py', 'cpu')])
def test_exact_windows_have_the_trunk_of_a_model_without_a_memory(file, size):
  def model(kind):
    return load_config(f'{CONFIGS / file}:memory={kind},size={size}', cls=Experiment).model

  none, recent = model('none'), model('recent').memory
  for times in (4, 8, 16):
    memory = dataclasses.replace(recent, length=times * recent.length)
    assert model(f'recent_{times}x') == dataclasses.replace(none, memory=memory)


@pytest.mark.parametrize('file', FILES, ids=lambda file: file.name)
def test_the_docstring_of_a_config_contains_its_command_and_results(file):
  assert f'--config=configs/{file.name}' in documentation(str(file))
  assert re.search('perplexity|loss|accurac', documentation(str(file)))
  takes_argument = bool(inspect.signature(runpy.run_path(str(file))['get_config']).parameters)
  assert takes_argument == (file.name in ARGUMENTS)


@pytest.mark.parametrize(
  ('length', 'message'),
  [
    ('0', r'length = 0 must be in \[2, '),
    ('2147483647', r'length = 2147483647 must be in \[2, 100,000,000\]'),
    ('many', "argument length = 'many' must be an int"),
    ('6.5', 'argument length = 6.5 must be an int'),
  ],
)
def test_sorting_accepts_any_valid_length_and_rejects_others(length, message):
  with pytest.raises(ConfigError, match=message):
    load_config(f'{CONFIGS}/sort.py:length={length}', cls=Experiment)
  assert load_config(f'{CONFIGS}/sort.py:length=600', cls=Experiment).data.length == 600
