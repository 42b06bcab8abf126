"""The spans that a sticky memory holds, as an image and as a page."""

import numpy as np
import pytest

from infformer_jax.plotting import held_spans
from infformer_jax.records import SharesRecord
from tests.plotting import inspections
from tests.plotting.figures import Words, assert_is_picture, lines_of, words_of
from tests.plotting.inspections import PIECES


@pytest.fixture
def shares():
  """Equal shares in both layers."""
  return dict.fromkeys(('layer 0', 'layer 1'), inspections.shares())


def last(share_t, even_share_t):
  """The shares of one layer at the end of the text."""
  moment_m = np.array([len(share_t)])
  record = SharesRecord(moment_m=moment_m, share_mt=share_t[None], even_share_mt=even_share_t[None])
  return {'layer 0': record}


def test_held_spans_are_drawn_with_the_largest_shares(tmp_path, shares):
  figure = held_spans.held(shares, PIECES, tmp_path / 'held.png')
  assert_is_picture(tmp_path / 'held.png', figure)
  drawn = lines_of(figure.axes[0])
  assert drawn['layer 1'][2].tolist() == [40, pytest.approx(50)]
  assert drawn['even sampling'][0].tolist() == [8, pytest.approx(100 / 6)]
  assert figure.axes[0].get_xlabel()
  words = words_of(figure)
  assert words.index('The largest shares') < words.index('50 %     (even 16.7 %)')
  assert '$x_1$' in words  # As text, not as a formula.
  assert '漢' not in words  # The font does not have this character.


def test_held_spans_of_a_long_document_are_drawn(tmp_path):
  """An even share is below a thousandth, but both lists have lines."""
  num_tokens = 16 * 2000
  even_t = np.full(num_tokens, 1 / num_tokens)
  share_t = np.concatenate([even_t[:16] * 1.5, even_t[16:32] * 0.5, even_t[32:]])
  pieces = ['a '] * num_tokens
  figure = held_spans.held(last(share_t, even_t), pieces, tmp_path / 'held.png')
  words = words_of(figure)
  assert words.count('More than with even') == words.count('Less than with even') == 1
  assert '0.075 %     (even 0.05 %)' in words
  assert words.endswith(f'at {16:>6,}   {"a " * 16}')
  bottom, top = figure.axes[0].get_ylim()
  assert bottom < 0.5 * 100 / 2000 < 1.5 * 100 / 2000 < top < 20 * bottom  # No empty decades.
  words = words_of(held_spans.held(last(even_t, even_t), pieces, tmp_path / 'even.png'))
  assert 'with even' not in words  # No span has a larger or smaller share, so there are no headings.


def test_held_spans_are_written_as_a_page(tmp_path, shares):
  held_spans.held(shares, PIECES, tmp_path / 'held.png')
  page = Words(tmp_path / 'held.html')
  assert page.text.count('layer 0, after 96 tokens') == page.text.count('layer 1, after 48 tokens') == 1
  assert ''.join(PIECES[:96]) in page.text.replace('\r', '')
  assert not page.tags & {'b', 'x_1'}
  assert 'span' in page.tags
