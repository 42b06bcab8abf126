"""Writes W/inspection, the data of the plots other than losses, so that plotting needs no model.

An evaluation writes the same to W/inspection_NAME, for plot.py --against. records.py has the schema.
"""

import dataclasses
import hashlib

import jax
from etils import epath

from infformer_jax.data.base import Corpus
from infformer_jax.evaluation import document_record, signal_record
from infformer_jax.memory.continuous_config import ContinuousConfig
from infformer_jax.memory.memory_config import MemoryConfig
from infformer_jax.records import Inspection
from infformer_jax.trained_model import TrainedModel

MAX_SEGMENTS = 256
"""The length at which the document is cut, in segments."""


def inspect(trained: TrainedModel, corpus: Corpus, split: str, folder: epath.Path) -> None:
  """Records the reads of the longest document of a split, and the signals that the memories can hold.

  All processes call this, and the first one writes. It holds all parameters on one device.

  Args:
    trained: the model.
    corpus, split: the source of the document.
    folder: W/inspection or W/inspection_NAME.
  """
  trained = trained.local()
  if jax.process_index():
    return
  model, tokenizer = trained.config, corpus.tokenizer
  document = document_record.longest(corpus.split(split), MAX_SEGMENTS * model.segment_length)
  ids = document.tokens(0)
  Inspection(
    step=trained.step,
    split=split,
    document=document.index,
    segment_length=model.segment_length,
    memory=dataclasses.asdict(model.memory),
    text_sha256=hashlib.sha256(tokenizer.identity.encode() + ids.tobytes()).hexdigest(),
    pieces=tuple(tokenizer.pieces(ids)),
    record=document_record.record(trained, document, tokenizer.bos_id),
    signals={
      place: signal_record.record(config, model.segment_length)
      for place, config in continuous_configs(model.memory).items()
    },
  ).save(folder)


def continuous_configs(config: MemoryConfig) -> dict[str, ContinuousConfig]:
  """The continuous memories in a config, by place in a stack, such as 'first_' ('' without a stack)."""
  return {place: part for place, part in config.parts().items() if isinstance(part, ContinuousConfig)}
