"""The tokens with a lower loss than in another run, in context, with the spans that the heads read.

Source: the analysis of the Memorizing Transformer (Wu et al. 2022, section 4.6 and appendix).
"""

import collections
import html
from collections.abc import Mapping, Sequence

import numpy as np
from etils import epath
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from infformer_jax.plotting import style, text

SPAN = 16  # tokens
DRAWN, LISTED = 10, 60
FULL = 2.0  # nats of difference at which the colour of the text saturates
BEFORE, AFTER = 70, 24  # characters of context in the picture


def profit(
  nll_t: np.ndarray,
  other_nll_t: np.ndarray,
  counts_t: np.ndarray,
  pieces: Sequence[str],
  held_th: Mapping[str, np.ndarray],
  *,
  names: tuple[str, str],
  path: epath.Path,
) -> Figure | None:
  """Draws the tokens that profit most, and writes an HTML page with more of them and the whole text.

  Args:
    nll_t, other_nll_t: nats, of the same text.
    counts_t: bool, which tokens are part of the loss.
    pieces: the text, token by token.
    held_th: by layer, the token that each head read when token t was predicted; -1: none. Reads are not shown
      if no layer has any, as for memories that are read in one softmax with the window.
    names: of the two losses.
    path: the PNG file; the page has the same name with .html.
  Returns:
    The figure; None, and no file, if no token profits.
  """
  gain_t = np.where(counts_t, other_nll_t - nll_t, 0.0)
  order = [int(t) for t in np.argsort(-gain_t, kind='stable')[:LISTED] if gain_t[t] > 0]
  if not order:
    return None
  losses = list(zip(names, (nll_t, other_nll_t), strict=True))
  title = 'Which tokens profit'
  mean = float(np.mean(gain_t[counts_t]))
  subtitle = (
    f'One document of {len(pieces):,} tokens. Its loss is {abs(mean):.4f} nats per token '
    f'{"lower" if mean > 0 else "higher"} with {names[0]} than with {names[1]}.'
  )
  held_th = {layer: held for layer, held in held_th.items() if (held >= 0).any()}
  _page(path.with_suffix('.html'), title, subtitle, losses, gain_t, order, pieces, held_th)
  drawn, apart = order[:DRAWN], 3 if held_th else 2  # lines
  height = 0.16 * apart * len(drawn)
  with style.canvas(path, 8.6, 3.1 + height) as figure:
    axes, below = figure.subplots(2, height_ratios=(1.7, height))
    _curve(axes, gain_t, counts_t)
    text.lines_axes(below, apart * len(drawn))
    for i, t in enumerate(drawn):
      context = text.visible(''.join(pieces[max(0, t - BEFORE) : t]))[-BEFORE:].rjust(BEFORE)
      after = ''.join(pieces[t + 1 : t + 1 + AFTER])[:AFTER]
      parts = [
        (f'{gain_t[t]:+6.2f}  {context}', None),
        (pieces[t][:16] or ' ', text.shade(0.6)),
        (after, None),
      ]
      text.line(below, apart * i, parts)
      for span, share in _held(held_th, t)[:1]:
        excerpt = text.visible(''.join(pieces[span : span + SPAN]))[: BEFORE + AFTER]
        text.line(below, apart * i + 1, [(f'{share} read  {excerpt}', None)], indent=8, ink='#6B6B6B')
    reads = (
      f'; under each, the {SPAN} tokens of the past that the most heads read at that point' if held_th else ''
    )
    below_it = f'Below: the tokens (blue) that benefit most, and by how many nats{reads}.'
    style.headline(figure, title, f'{subtitle} {below_it}')
  return figure


def _curve(axes: Axes, gain_t: np.ndarray, counts_t: np.ndarray) -> None:
  """The cumulative gain over the tokens, from the largest gain to the largest loss."""
  gain = np.sort(gain_t[counts_t])[::-1]
  share = 100 * np.arange(len(gain) + 1) / len(gain)
  total = np.concatenate([[0.0], np.cumsum(gain)])
  axes.plot(share, total, color=style.COLORS['memory'])
  axes.axhline(0, color=style.INK, linewidth=0.8)
  axes.set(xlim=(0, 100), xlabel='tokens, in the order of their gain [%]', ylabel='cumulative gain\n[nats]')
  total_nats = f'{total[-1]:,.3g}'.replace('-', '−')
  profiting = f'{100 * np.mean(gain > 0):.0f} % of the tokens benefit'
  axes.set_title(f'{profiting}; the sum over all tokens is {total_nats} nats')


def _held(held_th: Mapping[str, np.ndarray], t: int) -> list[tuple[int, str]]:
  """The spans that the most heads of all layers read: their first tokens, and the numbers of these heads."""
  tokens = [int(token) for held in held_th.values() for token in held[t]]
  spans = collections.Counter(token // SPAN * SPAN for token in tokens if token >= 0)
  return [(span, f'{count} of {len(tokens)} heads') for span, count in spans.most_common(3)]


def _page(
  path: epath.Path,
  title: str,
  subtitle: str,
  losses: Sequence[tuple[str, np.ndarray]],
  gain_t: np.ndarray,
  order: Sequence[int],
  pieces: Sequence[str],
  held_th: Mapping[str, np.ndarray],
) -> None:
  rows = []
  for t in order:
    before, token, after = (
      html.escape(''.join(pieces[a:b])) for a, b in ((max(0, t - 40), t), (t, t + 1), (t + 1, t + 12))
    )
    reads = ''.join(
      f'{share}, from token {span:,}:<pre>{html.escape("".join(pieces[span : span + SPAN]))}</pre>'
      for span, share in _held(held_th, t)
    )
    mark = f'<mark style="background:{text.shade(0.6)}">{token}</mark>'
    cells = [f'{t:,}', *(f'{nll_t[t]:.2f}' for _, nll_t in losses), f'{gain_t[t]:+.2f}']
    rows.append([*cells, f'<pre>{before}{mark}{after}</pre>', *([reads or '-'] if held_th else [])])
  header = ['token', *(f'{html.escape(name)} [nats]' for name, _ in losses), 'lower by', 'context']
  if held_th:
    header.append('read there')
  body = text.html_table(header, rows)
  body += '<h1>The whole text</h1>'
  body += '<p>Blue: the loss is lower; orange: it is higher. The colours saturate at 2 nats.</p>'
  body += text.coloured(pieces, gain_t / FULL)
  text.page(path, title, subtitle, body)
