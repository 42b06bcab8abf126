"""The kinds of data. To add a corpus or a task: a file beside this one, and a line here."""

from collections.abc import Callable
from typing import Any

from infformer_jax.data import pg19, recall, sorting, stdlib, text, tfds
from infformer_jax.data.base import DataConfig

REGISTRY: dict[str, tuple[type[DataConfig], Callable[[Any], Any]]] = {
  'stdlib': (stdlib.StdlibConfig, stdlib.source),
  'text': (text.TextConfig, text.source),
  'pg19': (pg19.Pg19Config, pg19.source),
  'tfds': (tfds.TfdsConfig, tfds.source),
  'sorting': (sorting.SortingConfig, sorting.source),
  'recall': (recall.RecallConfig, recall.source),
}
CONFIGS = {kind: config for kind, (config, _) in REGISTRY.items()}


def source(config: DataConfig) -> Any:
  """The Source (base.py) or the Task (tasks.py) that `config.kind` names."""
  return REGISTRY[config.kind][1](config)
