"""Training steps of tiny models on meshes of the devices of one process."""

import functools

import jax
import jax.numpy as jnp

from infformer_jax.data.base import StoredSplit
from infformer_jax.data.lanes import train_batches
from infformer_jax.nn import transformer
from infformer_jax.train.mesh import MeshConfig, make_mesh
from infformer_jax.train.optimizer import OptimizerConfig, make_optimizer
from infformer_jax.train.sharding import put_batch, put_constants, shardings
from infformer_jax.train.state import initial_state
from infformer_jax.train.step import make_train_step
from tests import toy

LANES = 8
STEPS = 20
SEGMENTS = 3
VOCABULARY = 14
OPTIMIZER = OptimizerConfig(learning_rate=1e-2, warmup_steps=2)
QUICKLY = {'xla_backend_optimization_level': 0, 'xla_llvm_disable_expensive_passes': True}
ONE = (1, 1, 1)


def mesh_of(sizes):
  """A mesh with these numbers of devices along data, fsdp and tensor, which may leave some out."""
  data, fsdp, tensor = sizes
  devices = jax.devices()[: data * fsdp * tensor]
  return make_mesh(MeshConfig(data=data, fsdp=fsdp, tensor=tensor), devices)


def model_of(memory, **changes):
  return toy.config(toy.MEMORIES[memory], **{'dropout': 0.1, 'attention_dropout': 0.1} | changes)


def compiled(model, mesh):
  """The compiled training step, the state before the first step and the constants."""
  start = functools.partial(
    initial_state,
    model,
    make_optimizer(OPTIMIZER, STEPS),
    vocab_size=VOCABULARY,
    batch_size=LANES,
    seed=0,
  )
  graphdef, shapes = jax.eval_shape(start)
  places = shardings(shapes, mesh)
  constants = put_constants(transformer.merge(graphdef, shapes.params).constants(), mesh)
  _, state = start(places=places)
  step = make_train_step(graphdef, OPTIMIZER, STEPS, places)
  batch = next(batches(mesh))
  return step.lower(state, batch, constants).compile(compiler_options=QUICKLY), state, constants


def batches(mesh):
  sizes = enumerate((50, 33, 9, 71, 20))
  split = StoredSplit.from_tokens([[(7 * i + j * j) % 12 + 1 for j in range(size)] for i, size in sizes])
  shape = {'num_lanes': LANES, 'segment_length': toy.LENGTH, 'segments_per_chunk': SEGMENTS}
  for batch in train_batches(split, 0, lanes=range(LANES), **shape, seed=0):
    yield put_batch(batch, mesh, LANES)


def losses(memory, sizes, *, steps=STEPS, **changes):
  """The losses of the steps on a mesh, and the text of the program."""
  mesh = mesh_of(sizes)
  step, state, constants = compiled(model_of(memory, **changes), mesh)
  totals = []
  for _, batch in zip(range(steps), batches(mesh), strict=False):
    state, report = step(state, batch, constants)
    total, count = jax.device_get(report.metrics['loss_nats_per_token'])
    assert jnp.isfinite(total)
    totals.append(float(total / count))
  return totals, step.as_text()
