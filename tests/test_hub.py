"""Names of directories, and models on the hub; its library is replaced, since tests have no network."""

import pathlib
import sys
import types

import pytest

from infformer_jax import hub
from infformer_jax.errors import ConfigError, UserError


class Unreachable(FileNotFoundError):
  """What the library raises without a network, for a model that is not in its cache."""


class Library(types.ModuleType):
  """Stands for huggingface_hub."""

  def __init__(self, folder: pathlib.Path):
    super().__init__('huggingface_hub')
    self.folder, self.calls = folder, []

  def snapshot_download(self, *args, **options):
    self.calls.append((args, options))
    if 'missing' in args[0]:
      raise OSError('401 Client Error.\nRepository Not Found')
    if 'offline' in args[0]:
      raise Unreachable('Got: ConnectError.\nPlease check your internet connection')
    return str(self.folder)


@pytest.fixture
def library(tmp_path, monkeypatch) -> Library:
  library = Library(tmp_path)
  monkeypatch.setitem(sys.modules, 'huggingface_hub', library)
  monkeypatch.setattr('importlib.util.find_spec', {'huggingface_hub': library}.get)
  return library


def test_only_names_with_the_prefix_are_downloaded(library, tmp_path):
  assert hub.directory(str(tmp_path / 'none'), 'init_from') == tmp_path / 'none'
  assert hub.directory('openai-community/gpt2', 'init_from') == pathlib.Path.cwd() / 'openai-community/gpt2'
  assert not library.calls
  for _ in range(2):
    assert hub.directory('hf:meta-llama/Llama-3.2-1B@main', 'init_from') == tmp_path
  (repository,), options = library.calls[0]
  assert (repository, options['revision']) == ('meta-llama/Llama-3.2-1B', 'main')
  assert '*.safetensors' in options['allow_patterns']
  assert not any('bin' in pattern for pattern in options['allow_patterns'])
  assert len(library.calls) <= 2  # Once for process 0, and once for each process.


def test_problems_are_one_line(library, monkeypatch):
  for text in ('hf:', 'hf:gpt2', 'hf:a/b/c', 'hf:../b', 'hf:a/b@'):
    with pytest.raises(ConfigError, match='must have the form hf:ORGANIZATION/NAME'):
      hub.check(text, 'init_from')
  with pytest.raises(UserError, match=r"'hf:a/missing' cannot be downloaded: 401 Client Error\. Repository"):
    hub.directory('hf:a/missing', 'init_from')
  with pytest.raises(UserError, match=r'cannot be downloaded: Got: ConnectError\. .* internet connection'):
    hub.directory('hf:a/offline', 'init_from')
  monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
  with pytest.raises(ConfigError, match=r"init_from = 'hf:a/b' needs .* pip install infformer_jax\[hub\]"):
    hub.directory('hf:a/b', 'init_from')
