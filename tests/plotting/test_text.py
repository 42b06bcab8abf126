"""Text in plots: shades, characters, and HTML."""

import numpy as np
from matplotlib.figure import Figure

from infformer_jax.plotting import text


def test_shades_and_characters_are_converted():
  assert text.shade(0) == '#ffffff'
  assert text.shade(0.5) != text.shade(-0.5) != text.shade(-1)
  assert text.visible('a\n\t漢é\x07') == 'a↵ □é□'
  assert text.coloured(['<', 'a', '&'], np.array([0, 1, 1])).startswith('<pre>&lt;<span style')


def test_consecutive_pieces_of_one_level_share_a_span():
  page = text.coloured(['a', 'b', 'c', 'd'], np.array([1.0, 1.0, 0.0, -3.0]))
  shades = [text.shade(1), text.shade(-1)]
  blue, orange = (f'<span style="background:{shade}">' for shade in shades)
  assert page == f'<pre>{blue}ab</span>c{orange}d</span></pre>'


def test_parts_of_a_line_follow_each_other():
  axes = Figure().subplots()
  text.lines_axes(axes, 3)
  text.line(axes, 1, [('ab', None), ('c\n', '#ff0000')], indent=4)
  first, second = axes.texts
  assert (first.get_text(), second.get_text()) == ('ab', 'c↵')
  assert first.get_bbox_patch() is None
  assert second.get_bbox_patch() is not None
  offsets = [annotation.xyann[0] / text.CHARACTER_POINTS for annotation in (first, second)]
  assert offsets == [4, 6]


def test_pages_escape_their_titles_and_tables_do_not(tmp_path):
  body = text.html_table(['x'], [['<pre>1</pre>']])
  assert body == '<table><tr><th>x</th></tr><tr><td><pre>1</pre></td></tr></table>'
  text.page(tmp_path / 'new' / 'page.html', 'a < b', 'b & c', body)
  page = (tmp_path / 'new' / 'page.html').read_text(encoding='utf-8')
  assert page.startswith('<!doctype html>')
  assert '<h1>a &lt; b</h1>\n<p>b &amp; c</p>' in page
  assert body in page
