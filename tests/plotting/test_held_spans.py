"""Plots of one document: heads, held spans, retrieved ages, profiting tokens, as pictures and pages."""

import html.parser

import numpy as np
import pytest

from infformer_jax.plotting import held_spans, memory, profit, retrieved_ages, text, workdir
from tests.plotting.test_memory import assert_is_labelled, assert_is_picture, lines_of

PIECES = ['<b>', ' &', ' $x_1$', '\n', ' 漢', '', '"q"', '\t'] * 16


class Words(html.parser.HTMLParser):
  """What a reader sees, and every tag."""

  def __init__(self, path):
    super().__init__()
    self.text, self.tags = '', set()
    self.feed(path.read_text(encoding='utf-8'))

  def handle_data(self, data):
    self.text += data

  def handle_starttag(self, tag, attributes):
    self.tags.add(tag)
    assert not {name for name, _ in attributes} & {'src', 'href'}  # It needs nothing else.


def words_of(figure):
  return ' '.join(annotation.get_text() for axes in figure.axes for annotation in axes.texts)


def test_where_heads_read(tmp_path):
  density = np.random.default_rng(0).random((6, 5, 8)) + 0.5
  density[:2], density[3, 4, 0] = np.nan, 0
  figure = memory.where_heads_read('layer 3', density, tmp_path / 'heads.png')
  assert_is_picture(tmp_path / 'heads.png', figure)
  assert_is_labelled(figure)
  panels = [axes for axes in figure.axes if axes.get_images()]
  assert [axes.get_title(loc='left') for axes in panels] == [f'head {h}' for h in range(5)]
  shown = panels[4].get_images()[0].get_array()
  np.testing.assert_array_equal(shown[:, 2:], density[2:, 4].T)
  assert 'layer 3' in figure.get_suptitle()
  image = panels[4].get_images()[0]
  colors = image.cmap(image.norm(shown))  # Where a head reads nothing is not where nothing is.
  assert colors[0, 3].tolist() != colors[0, 0].tolist() == colors[1, 1].tolist()


@pytest.fixture
def shares():
  """Of 96 written tokens the third span holds half of the memory, in both layers."""
  share_t = np.zeros(128)
  share_t[:96] = 0.5 / 80
  share_t[32:48] = 0.5 / 16
  even_t = np.zeros(128)
  even_t[:96] = 1 / 96
  layers = ('layer 0', 'layer 1')
  named = lambda a: dict.fromkeys(layers, np.array([a / 2, a]))  # noqa: E731
  return named(share_t), named(even_t), dict.fromkeys(layers, np.array([48, 96]))


def test_held_spans(tmp_path, shares):
  figure = held_spans.held(*shares, PIECES, tmp_path / 'held.png')
  assert_is_picture(tmp_path / 'held.png', figure)
  drawn = lines_of(figure.axes[0])
  assert drawn['layer 1'][2].tolist() == [40, pytest.approx(50)]
  assert drawn['even sampling'][0].tolist() == [8, pytest.approx(100 / 6)]
  assert figure.axes[0].get_xlabel()
  words = words_of(figure)
  assert words.index('The largest shares') < words.index('50 %  (even')
  assert '$x_1$' in words  # As it stands, not as a formula.
  assert '漢' not in words  # The font has no such letter.


def test_held_spans_of_a_long_document(tmp_path):
  """An even share of it is less than a thousandth; still both lists have lines, and nothing else stands."""
  num_tokens = 16 * 2000
  even_t = np.full(num_tokens, 1 / num_tokens)
  share_t = np.concatenate([even_t[:16] * 1.5, even_t[16:32] * 0.5, even_t[32:]])
  layer, pieces = 'layer 0', ['a '] * num_tokens
  named = ({layer: a[None]} for a in (share_t, even_t, np.array(num_tokens)))
  figure = held_spans.held(*named, pieces, tmp_path / 'held.png')
  words = words_of(figure)
  assert words.count('More than even') == words.count('Less than even') == 1
  assert words.endswith(f'at {16:>6,}   {"a " * 16}')
  bottom, top = figure.axes[0].get_ylim()
  assert bottom < 0.5 * 100 / 2000 < 1.5 * 100 / 2000 < top < 20 * bottom  # No empty decades.
  named = ({layer: a[None]} for a in (even_t, even_t, np.array(num_tokens)))
  words = words_of(held_spans.held(*named, pieces, tmp_path / 'even.png'))
  assert 'than even' not in words  # Nothing gained or lost: no heading without lines.


def test_held_spans_as_a_page(tmp_path, shares):
  held_spans.held(*shares, PIECES, tmp_path / 'held.png')
  page = Words(tmp_path / 'held.html')
  assert page.text.count('layer 0, after 96 tokens') == page.text.count('layer 1, after 48 tokens') == 1
  assert ''.join(PIECES[:96]) in page.text.replace('\r', '')
  assert not page.tags & {'b', 'x_1'}
  assert 'span' in page.tags


def test_retrieved_ages(tmp_path):
  retrieved, expected = np.zeros(129), np.zeros(129)
  retrieved[[4, 40]] = 30, 10
  expected[1:65] = 40 / 64
  nearest = np.where(np.arange(128)[:, None] >= 9, np.arange(128)[:, None] - 9, -1)  # an age of eight
  layer = 'layer 2'
  figure = retrieved_ages.ages({layer: retrieved}, {layer: expected}, {layer: nearest}, tmp_path / 'ages.png')
  assert_is_picture(tmp_path / 'ages.png', figure)
  assert_is_labelled(figure)
  (axes,) = figure.axes
  stairs = {patch.get_label(): patch.get_data() for patch in axes.patches}
  values, edges, _ = stairs['retrieved']
  assert values[np.searchsorted(edges, 4, 'right') - 1] == pytest.approx(75)
  assert values[np.searchsorted(edges, 40, 'right') - 1] == pytest.approx(25)
  values, edges, _ = stairs['the most similar']
  assert values[np.searchsorted(edges, 8, 'right') - 1] == pytest.approx(100)
  assert all(values.sum() == pytest.approx(100) for values, _, _ in stairs.values())


@pytest.fixture
def losses():
  """Token 70 profits by two nats, token 17 by one, the rest loses; token 3 would, but does not count."""
  mine, other, counts = np.full(128, 3.0), np.full(128, 2.9), np.ones(128, bool)
  other[[70, 17, 3]] = 5, 4, 9
  counts[3] = False
  held_th = np.full((128, 4), -1)
  held_th[70] = 33, 34, 90, 40
  return mine, other, counts, PIECES, {'layer 0': held_th, 'layer 1': held_th}


def test_tokens_that_profit(tmp_path, losses):
  figure = profit.profit(*losses, names=('mine', 'theirs'), path=tmp_path / 'profit.png')
  assert_is_picture(tmp_path / 'profit.png', figure)
  words = words_of(figure)
  assert words.index('+2.00') < words.index('+1.00')
  assert '6.00' not in words
  assert '6 of 8 heads read' in words
  (curve,) = (line for line in figure.axes[0].get_lines() if len(line.get_xdata()) > 2)
  assert curve.get_ydata()[:3].tolist() == [0, 2, 3]
  assert curve.get_ydata()[-1] == pytest.approx(3 - 125 * 0.1)


def test_tokens_that_profit_as_a_page(tmp_path, losses):
  profit.profit(*losses, names=('mine', '<theirs>'), path=tmp_path / 'profit.png')
  page = Words(tmp_path / 'profit.html')
  assert '<theirs> [nats]' in page.text
  assert '+2.00' in page.text
  assert ''.join(PIECES).strip() in page.text
  assert not page.tags & {'b', 'theirs'}


def test_what_heads_read_is_promised_only_where_it_is_shown(tmp_path, losses):
  *known, held_th = losses
  nothing = {layer: np.full_like(tokens, -1) for layer, tokens in held_th.items()}
  for reads, is_shown in ((held_th, True), ({}, False), (nothing, False)):
    figure = profit.profit(*known, reads, names=('mine', 'theirs'), path=tmp_path / 'profit.png')
    assert ('heads read' in figure.get_supxlabel()) == ('heads read' in words_of(figure)) == is_shown
    assert ('read there' in Words(tmp_path / 'profit.html').text) == is_shown


def test_runs_that_are_compared_are_named_by_their_memories(tmp_path, losses):
  mine, other, counts, pieces, _ = losses
  memories = {
    'long': {'kind': 'stacked', 'first': {'kind': 'recent', 'length': 64}},
    'short': {'kind': 'stacked', 'first': {'kind': 'recent', 'length': 32}},
    'none': {'kind': 'none'},
    'copy/none': {'kind': 'none'},
  }

  def inspected(name, nll_t):
    about = {'pieces': pieces, 'memory': memories[name]}
    return workdir.Inspection(
      about=about, arrays={'nll_t': {'memory': nll_t}, 'counts_t': {'targets': counts}}
    )

  def page(name, against):
    seen, theirs = inspected(name, mine), inspected(against, other)
    workdir.draw_against(tmp_path / name, seen, tmp_path / against, theirs)
    return Words(tmp_path / name / 'plots' / f'profit_against_{(tmp_path / against).name}.html').text

  assert 'with long (first.length 64) than with short (first.length 32).' in page('long', 'short')
  assert 'with long (stacked) than with none (none).' in page('long', 'none')
  assert f'with {tmp_path / "none"} than with {tmp_path / "copy/none"}.' in page('none', 'copy/none')


def test_where_nothing_profits_there_is_no_plot(tmp_path, losses):
  mine, _, *rest = losses
  assert profit.profit(mine, mine - 1, *rest, names=('a', 'b'), path=tmp_path / 'profit.png') is None
  assert list(tmp_path.iterdir()) == []


def test_shades_and_letters():
  assert text.shade(0) == '#ffffff'
  assert text.shade(0.5) != text.shade(-0.5) != text.shade(-1)
  assert text.visible('a\n\t漢é\x07') == 'a↵ □é□'
  assert text.coloured(['<', 'a', '&'], np.array([0, 1, 1])).startswith('<pre>&lt;<span style')
