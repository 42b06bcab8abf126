"""A user-defined memory: registered, trained, evaluated, inspected, plotted and used for generation."""

import dataclasses
import io
import json
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from infformer_jax import TrainedModel, job
from infformer_jax.config.parsing import override
from infformer_jax.console import Console
from infformer_jax.core.pytree import pytree
from infformer_jax.errors import ConfigError
from infformer_jax.evaluation.generation import Generator, Sampling
from infformer_jax.experiment import load_experiment
from infformer_jax.memory import registry
from infformer_jax.memory.base import Memory
from infformer_jax.memory.memory_config import MemoryConfig, Traits
from infformer_jax.memory.stacked import StackedConfig
from infformer_jax.plotting import workdir as plots
from infformer_jax.records import Inspection
from infformer_jax.types import Read
from tests import toy
from tests.ablation.sweep import write_config


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeanConfig(MemoryConfig):
  """The mean of the past, times a learned matrix."""

  kind: Literal['mean'] = 'mean'
  decay: float = 0.5

  @property
  def traits(self):
    return Traits(learns_writes=True, mixes_all=True)


@pytree
class MeanState:
  mean_bd: jax.Array
  segments_b: jax.Array


class Mean(Memory):
  def __init__(self, config, site, *, rngs):
    super().__init__(config, site, rngs=rngs)
    init = nnx.initializers.lecun_normal()
    self.w_dd = nnx.Param(init(rngs.params(), (site.d_model, site.d_model), site.param_dtype))

  def init_state(self, batch, dtype):
    mean_bd = jnp.zeros((batch, self.site.d_model), self.site.state_dtype)
    return MeanState(mean_bd=mean_bd, segments_b=jnp.zeros((batch,), jnp.int32))

  def filled(self, state):
    return state.segments_b > 0

  def write(self, state, past, project=None, *, key_b=None):
    decay = jnp.where(self.filled(state), self.config.decay, 0)[:, None].astype(state.mean_bd.dtype)
    mean_bd = decay * state.mean_bd + (1 - decay) * past.x_bld.mean(axis=1).astype(state.mean_bd.dtype)
    return MeanState(
      mean_bd=jnp.where(past.whole_b[:, None], mean_bd, state.mean_bd),
      segments_b=state.segments_b + past.whole_b.astype(jnp.int32),
    )

  def prepare(self, state, project=None):
    return state.mean_bd @ self.w_dd[...].astype(state.mean_bd.dtype)

  def answer(self, prepared, segment):
    shape = (*segment.ok_bl.shape, prepared.shape[-1])
    return Read(added_bld=jnp.broadcast_to(prepared[:, None], shape))


@pytest.fixture(scope='module', autouse=True)
def registered():
  with pytest.MonkeyPatch.context() as patch:
    for known in (registry.CONFIGS, registry._MEMORIES):
      patch.setitem(known, 'mean', None)  # Restored after the tests.
      del known['mean']
    registry.register(MeanConfig, Mean)
    yield


@pytest.fixture(scope='module', params=['alone', pytest.param('in a stack', marks=pytest.mark.slow)])
def run(request, tmp_path_factory):
  """(experiment, work directory, standard output) of a training run with the memory."""
  before = load_experiment(write_config(tmp_path_factory.mktemp('config')))
  overrides = [('model.memory.kind', 'mean'), ('model.memory.decay', '0.25')]
  if request.param == 'in a stack':
    overrides = [(f'model.memory.first.{key.split(".")[-1]}', value) for key, value in overrides]
    overrides += [('model.memory.kind', 'stacked'), ('model.memory.second.kind', 'recent')]
    overrides += [('model.memory.second.length', '8')]
  experiment = override(before, overrides)
  workdir, stream = tmp_path_factory.mktemp('mean') / 'W', io.StringIO()
  job.train(experiment, workdir, Console(stream))
  return experiment, workdir, stream.getvalue()


def test_it_is_trained_and_evaluated_with_its_controls(run):
  experiment, workdir, printed = run
  config = experiment.model.memory
  assert MeanConfig(decay=0.25) in config.parts().values()
  results = json.loads((workdir / 'results.json').read_text())
  losses = {view: results[view]['loss_nats_per_token'] for view in ('memory', 'emptied', 'exchanged')}
  assert len(set(losses.values())) == 3
  assert 'memory emptied' in printed


def test_it_is_inspected_and_plotted(run):
  _, workdir, _ = run
  record = Inspection.load(workdir / 'inspection').record
  assert np.abs(record.nll_t - record.emptied_nll_t).max() > 0
  assert (record.continuous, record.neighbours) == ({}, {})
  for path in (workdir / 'plots').iterdir():
    path.unlink()
  assert plots.draw(workdir)
  assert {'loss.png', 'profit.png'} <= {path.name for path in (workdir / 'plots').iterdir()}


def test_it_is_loaded_from_its_work_directory_and_generates_as_the_forward_pass_does(run):
  experiment, workdir, _ = run
  trained = TrainedModel.load(workdir)
  assert trained.config == experiment.model
  length, bos_id = experiment.model.segment_length, trained.model().vocabulary.size - 1
  generator = Generator(trained, bos_id=bos_id)
  prompt = np.arange(3 * length + 2) % bos_id
  logits_bv, opened = generator.read([prompt])
  sampling = Sampling(temperature=0)
  ids = [
    int(token_b[0])
    for token_b in generator.generate(logits_bv, opened, 2 * length, sampling, jax.random.key(0))
  ]
  document = np.concatenate([[bos_id], prompt, ids[:-1]])
  batch = toy.batch([(len(document),)], length=length, segments=-(-len(document) // length))
  batch.tokens_bsl[batch.ok_bsl] = document
  output = trained.model()(batch, trained.model().init_state(1))
  logits = trained.model().vocabulary.logits(output.hidden_bsld)[batch.ok_bsl]
  assert ids == logits[len(prompt) :].argmax(-1).tolist()


def test_a_stack_has_the_traits_of_both():
  stack = StackedConfig(first=MeanConfig(), second=toy.small('recent'))
  assert stack.traits == Traits(learns_writes=True, mixes_all=True, gives_slots=True)


def test_a_kind_has_one_config():
  registry.register(MeanConfig, Mean)  # A second time, because a config file may be read twice.
  other = dataclasses.make_dataclass(
    'Other', [('kind', str, 'recent')], bases=(MemoryConfig,), frozen=True, kw_only=True
  )
  with pytest.raises(ConfigError, match=r"Other\.kind = 'recent' is the kind of RecentConfig; use another"):
    registry.register(other, Mean)


def test_a_config_file_that_defines_a_memory_can_be_read_twice():
  again = type('MeanConfig', (MemoryConfig,), dict(vars(MeanConfig)))
  registry.register(again, Mean)
  assert registry.CONFIGS['mean'] is again
  registry.register(MeanConfig, Mean)


def test_a_config_without_a_kind_is_rejected():
  @dataclasses.dataclass(frozen=True, kw_only=True)
  class Nameless(MemoryConfig):
    pass

  with pytest.raises(ConfigError, match=r'Nameless\.kind has no default'):
    registry.register(Nameless, Mean)


def test_an_unknown_kind_is_an_error_with_a_suggestion():
  with pytest.raises(ConfigError, match=r"kind = 'meen'.*did you mean 'mean'"):
    override(toy.config(MeanConfig()), [('memory.kind', 'meen')])


@pytest.mark.parametrize(
  ('config', 'memory', 'message'),
  [
    (Mean, Mean, 'must be a dataclass that extends MemoryConfig'),
    (MeanConfig(), Mean, 'must be a dataclass that extends MemoryConfig'),
    (MeanConfig, MeanConfig, 'must be a class that extends Memory'),
    (MeanConfig, Memory, 'implements its abstract methods'),
  ],
)
def test_other_classes_are_not_registered(config, memory, message):
  with pytest.raises(ConfigError, match=message):
    registry.register(config, memory)
