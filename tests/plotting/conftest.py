"""The figures that plots draw."""

import contextlib

import pytest

from infformer_jax.plotting import style


@pytest.fixture
def kept(monkeypatch):
  """{file name: figure} of the figures that are drawn."""
  canvas, by_name = style.canvas, {}

  @contextlib.contextmanager
  def keeping(path, *size):
    with canvas(path, *size) as figure:
      yield figure
    by_name[path.name] = figure

  monkeypatch.setattr(style, 'canvas', keeping)
  return by_name
