"""Assertions on figures, and helpers for their lines, words and pages."""

import html.parser
import struct

import numpy as np


def assert_is_picture(path, figure):
  """Asserts that the file is a PNG of the figure's size with more than one colour."""
  data = path.read_bytes()
  assert data[:8] == b'\x89PNG\r\n\x1a\n'
  width, height = struct.unpack('>II', data[16:24])
  assert (width, height) == tuple(round(150 * inches) for inches in figure.get_size_inches())
  figure.canvas.draw()
  pixels = np.asarray(figure.canvas.buffer_rgba())
  assert len(np.unique(pixels.reshape(-1, 4), axis=0)) > 20


def assert_is_labelled(figure):
  """Asserts that the figure has a title, units on every outer axis, and no legend over the data."""
  assert figure.get_suptitle()
  for axes in figure.axes:
    if axes.get_visible() and axes.get_subplotspec() is not None:
      assert axes.get_ylabel() or not axes.get_subplotspec().is_first_col()
    if axes.get_legend():
      figure.canvas.draw()
      inside = axes.get_window_extent()
      assert axes.get_legend().get_window_extent().x0 >= inside.x1 - 1


def lines_of(axes):
  return {line.get_label(): line.get_xydata() for line in axes.get_lines()}


def words_of(figure):
  return ' '.join(annotation.get_text() for axes in figure.axes for annotation in axes.texts)


class Words(html.parser.HTMLParser):
  """The visible text of a page, and its tags."""

  def __init__(self, path):
    super().__init__()
    self.text, self.tags = '', set()
    self.feed(path.read_text(encoding='utf-8'))

  def handle_data(self, data):
    self.text += data

  def handle_starttag(self, tag, attributes):
    self.tags.add(tag)
    assert not {name for name, _ in attributes} & {'src', 'href'}  # The page is self-contained.
