"""What the plots show besides losses, kept in W/inspection: plots are remade from it, without the model.

An evaluation by itself keeps the same in W/inspection_NAME, for plot.py --against.

`arrays.npz` holds what document_record.py sees of one document, and what the signals can hold, under
'what/layer'; `about.json` says which document it was, after how many steps, with what memory, and has its
text, token by token.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from typing import Any

import numpy as np

from infformer_jax.core import basis, signal
from infformer_jax.data.base import Corpus
from infformer_jax.evaluation import document_record
from infformer_jax.memory.base import MemoryConfig
from infformer_jax.memory.continuous_config import ContinuousConfig
from infformer_jax.memory.stacked import StackedConfig
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.trained_model import TrainedModel

MAX_SEGMENTS = 256
"""Where the document is cut."""


def inspect(
  trained: TrainedModel,
  corpus: Corpus,
  split: str,
  folder: pathlib.Path,
) -> None:
  """Looks at the longest document of a split, or its beginning, and writes what there is to draw.

  One process alone does this.

  Args:
    trained: the model.
    corpus, split: where the document is from.
    folder: W/inspection or W/inspection_NAME.
  """
  model, tokenizer = trained.config, corpus.tokenizer
  document = document_record.longest(corpus.split(split), MAX_SEGMENTS * model.segment_length)
  arrays = document_record.look(trained, document, tokenizer.bos_id)
  arrays |= _of_signals(model)
  ids = document.tokens(0)
  counts_t = document.group(0, 0, len(ids)) >= 0
  arrays['counts_t'] = {'targets': counts_t}
  about = {
    'step': trained.step,
    'split': split,
    'document': document.index,
    'segment_length': model.segment_length,
    'memory': dataclasses.asdict(model.memory),
    'text_sha256': hashlib.sha256(tokenizer.identity.encode() + ids.tobytes()).hexdigest(),
    'pieces': tokenizer.pieces(ids),
  }
  folder.mkdir(parents=True, exist_ok=True)
  partial = folder / f'{os.getpid()}.partial'
  with partial.open('wb') as file:
    flat: dict[str, Any] = {
      f'{what}/{name}': array for what, of in arrays.items() for name, array in of.items()
    }
    np.savez_compressed(file, **flat)
  os.replace(partial, folder / 'arrays.npz')
  partial.write_text(json.dumps(about) + '\n', encoding='utf-8')
  os.replace(partial, folder / 'about.json')


def _of_signals(model: ModelConfig) -> document_record.Arrays:
  """The basis of every continuous memory, and how well it holds a signal."""
  arrays: document_record.Arrays = {}
  for part, config in continuous_configs(model.memory).items():
    times_t, basis_tn = basis_functions(config)
    fits = reconstructions(config, model.segment_length)
    # Three digits are enough to be drawn.
    found = {'basis_times_t': times_t, 'basis_tn': basis_tn.astype(np.float16)}
    found |= {f'fit{i}_{key}': np.asarray(value) for i, fit in enumerate(fits) for key, value in fit.items()}
    for what, array in found.items():
      arrays.setdefault(what, {})[part] = array
  return arrays


def basis_functions(config: ContinuousConfig) -> tuple[np.ndarray, np.ndarray]:
  """A grid over [0, 1] that is finer than the narrowest function, and the functions on it [t, n]."""
  times_t = np.linspace(0, 1, max(2001, int(8 / config.basis_spec().finest) + 1))
  return times_t, basis.evaluate_on_host(config.basis_spec(), times_t)


def reconstructions(config: ContinuousConfig, segment_length: int) -> list[dict[str, Any]]:
  """A smooth random signal that is written segment by segment, and what the memory holds of it.

  By the very operators of a write (core/signal.py), sampled evenly.

  Returns:
    After one, three and eight writes what plotting/memory.py `reconstruction` takes: where the values of all
    writes now stand in [0, 1], the values, and the signal on a grid.
  """
  spec = config.signal_spec(segment_length)
  first, in_first = signal.first_times(spec)
  num_writes = 8
  noise_t = np.random.default_rng(0).normal(size=(num_writes + 1) * segment_length)
  width = max(1, segment_length // 8)
  values_wl = np.convolve(noise_t, np.hanning(width + 2), 'same')[: num_writes * segment_length]
  values_wl = (values_wl / values_wl.std()).reshape(num_writes, segment_length)
  times_t, basis_tn = basis_functions(config)

  fits = []
  b_n, times_p = signal.first_operator(spec).T @ values_wl[0], first[in_first]
  for write in range(1, num_writes + 1):
    if write > 1:
      constants, (later, in_later) = signal.operators(spec, write - 1), signal.later_times(spec, write - 1)
      b_n = constants.carry_nn @ b_n + constants.new_ln.T @ values_wl[write - 1]
      times_p = np.concatenate([spec.tau(write - 1) * times_p, later[in_later][spec.num_samples :]])
    if write in (1, 3, 8):
      fits.append(
        {
          'title': f'After {write} writes' if write > 1 else 'After the first write',
          'times_p': times_p,
          'values_p': values_wl[:write].ravel(),
          'times_t': times_t,
          'signal_t': basis_tn @ b_n,
        }
      )
  return fits


def continuous_configs(config: MemoryConfig, part: str = '') -> dict[str, ContinuousConfig]:
  """The continuous memories in a config, by their place in a stack ('' where there is none)."""
  if isinstance(config, StackedConfig):
    first, second = (
      continuous_configs(c, f'{part}{n}_') for n, c in (('first', config.first), ('second', config.second))
    )
    return first | second
  return {part: config} if isinstance(config, ContinuousConfig) else {}
