"""The tokens that benefit from the memory, as an image and as a page."""

import numpy as np
import pytest

from infformer_jax.plotting import profit
from tests.plotting import inspections
from tests.plotting.figures import Words, assert_is_picture, words_of
from tests.plotting.inspections import PIECES


@pytest.fixture
def losses():
  """At the token that benefits most, three of four heads read the same span of the past, in both layers."""
  data = inspections.losses()
  held_th = np.full((inspections.TOKENS, inspections.HEADS), -1)
  held_th[70] = 33, 34, 90, 40
  held = {'layer 0': held_th, 'layer 1': held_th}
  return data['nll_t'], data['emptied_nll_t'], data['counts_t'], PIECES, held


def test_tokens_that_benefit_are_drawn(tmp_path, losses):
  figure = profit.profit(*losses, names=('mine', 'theirs'), path=tmp_path / 'profit.png')
  assert_is_picture(tmp_path / 'profit.png', figure)
  words = words_of(figure)
  assert words.index('+2.00') < words.index('+1.00')
  assert '6.00' not in words
  assert '6 of 8 heads read' in words
  (curve,) = (line for line in figure.axes[0].get_lines() if len(line.get_xdata()) > 2)
  assert curve.get_ydata()[:3].tolist() == [0, 2, 3]
  assert curve.get_ydata()[-1] == pytest.approx(3 - 125 * 0.1)


def test_tokens_that_benefit_are_written_as_a_page(tmp_path, losses):
  profit.profit(*losses, names=('mine', '<theirs>'), path=tmp_path / 'profit.png')
  page = Words(tmp_path / 'profit.html')
  assert '<theirs> [nats]' in page.text
  assert '+2.00' in page.text
  assert ''.join(PIECES).strip() in page.text
  assert not page.tags & {'b', 'theirs'}


def test_the_text_mentions_what_heads_read_only_if_it_is_shown(tmp_path, losses):
  *known, held_th = losses
  nothing = {layer: np.full_like(tokens, -1) for layer, tokens in held_th.items()}
  for reads, is_shown in ((held_th, True), ({}, False), (nothing, False)):
    figure = profit.profit(*known, reads, names=('mine', 'theirs'), path=tmp_path / 'profit.png')
    assert ('heads read' in figure.get_supxlabel()) == ('heads read' in words_of(figure)) == is_shown
    assert ('read there' in Words(tmp_path / 'profit.html').text) == is_shown


def test_without_tokens_that_benefit_there_is_no_plot(tmp_path, losses):
  mine, _, *rest = losses
  assert profit.profit(mine, mine - 1, *rest, names=('a', 'b'), path=tmp_path / 'profit.png') is None
  assert list(tmp_path.iterdir()) == []
