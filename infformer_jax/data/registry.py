"""The kinds of data.

To add one, write a file beside this one with a config class, and list the class here. A user's own program
calls `base.register` instead.
"""

from infformer_jax.data.base import register
from infformer_jax.data.pg19 import Pg19Config
from infformer_jax.data.recall import RecallConfig
from infformer_jax.data.sorting import SortingConfig
from infformer_jax.data.stdlib import StdlibConfig
from infformer_jax.data.text import TextConfig
from infformer_jax.data.tfds import TfdsConfig
from infformer_jax.data.wikitext import WikitextConfig

for _config in (
  StdlibConfig,
  TextConfig,
  Pg19Config,
  TfdsConfig,
  WikitextConfig,
  SortingConfig,
  RecallConfig,
):
  register(_config)
