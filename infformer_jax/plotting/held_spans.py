"""How much of a sticky memory each span of the text holds, as a picture and as coloured text."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath
from matplotlib import colormaps
from matplotlib.figure import Figure

from infformer_jax.plotting import style, text
from infformer_jax.records import SharesRecord

SPAN = 16  # tokens
LISTED = 6
FORGOTTEN = 1e-3  # of an equal share; smaller shares are shown as zero


def held(shares: Mapping[str, SharesRecord], pieces: Sequence[str], path: epath.Path) -> Figure:
  """Draws the shares of the memory at the last moment, and writes an HTML page with the text at all moments.

  Args:
    shares: by layer.
    pieces: the text, token by token.
    path: the PNG file; the page has the same name with .html.
  """
  _page(shares, pieces, path.with_suffix('.html'))
  spans = {name: _spans(each.share_mt[-1], each.moment_m[-1]) for name, each in shares.items()}
  even = {name: _spans(each.even_share_mt[-1], each.moment_m[-1]) for name, each in shares.items()}
  written = next(iter(shares.values())).moment_m[-1]
  mean, mean_even = np.mean(list(spans.values()), axis=0), np.mean(list(even.values()), axis=0)
  remembered = np.maximum(mean, mean_even) * len(mean) > FORGOTTEN
  gain = np.log((mean + 1e-9) / (mean_even + 1e-9)) * remembered
  lists: dict[str, Sequence[int]] = {
    'The largest shares': np.argsort(-mean, kind='stable')[:LISTED].tolist(),
    'More than with even sampling': [i for i in np.argsort(-gain, kind='stable')[:LISTED] if gain[i] > 0],
    'Less than with even sampling': [i for i in np.argsort(gain, kind='stable')[:LISTED] if gain[i] < 0],
  }
  lists = {title: rows for title, rows in lists.items() if len(rows)}
  count = sum(len(rows) + 2 for rows in lists.values())
  with style.canvas(path, 8.6, 3.4 + 0.16 * count) as figure:
    axes, below = figure.subplots(2, height_ratios=(2.4, 0.16 * count))
    position = (np.arange(len(mean)) + 0.5) * SPAN
    shades = colormaps[style.COLORMAP](np.linspace(0.05, 0.8, len(spans)))
    for shade, (name, span_shares) in zip(shades, spans.items(), strict=True):
      axes.plot(position, 100 * span_shares, color=shade, linewidth=1.2, label=name)
    axes.plot(position, 100 * mean_even, '--', color=style.INK, linewidth=1.0, label='even sampling')
    top = 100 * max(mean.max(), mean_even.max())
    drawn = 100 * np.stack([mean_even, *spans.values()])
    bottom = max(top / 1e5, drawn[drawn > 0].min() / 2)
    axes.set(yscale='log', ylim=(bottom, 2 * top), xlabel='position in the text [tokens]')
    axes.set(ylabel=f'share of the memory\nheld by {SPAN} tokens [%]')
    seen = np.flatnonzero(drawn.max(axis=0) > top / 1e5)
    axes.set_xlim(position[seen[0]] - SPAN, position[-1] + SPAN)
    axes.xaxis.set_major_formatter('{x:,.0f}')
    style.legend_beside(axes)
    text.lines_axes(below, count)
    y = 0
    for title, rows in lists.items():
      below.annotate(
        title, (0, y), xycoords=('axes fraction', 'data'), fontweight='bold', va='center', fontsize=8
      )
      y += 1
      for i in rows:
        excerpt = ''.join(pieces[i * SPAN : (i + 1) * SPAN])
        even_share = f'(even {_percent(mean_even[i])})'
        figures = f'{_percent(mean[i]):>9}  {even_share:>16}  at {i * SPAN:>6,}  '
        text.line(
          below,
          y,
          [(figures, None), (excerpt[:76], text.shade(_level(mean[i] * len(mean), top / 100 * len(mean))))],
        )
        y += 1
      y += 1
    style.headline(
      figure,
      'Spans of the text in the sticky memory',
      f'After {written:,} tokens of one document. Below: means over layers. '
      'Shares are computed from the sample points; the basis functions may resolve less.',
    )
  return figure


def _percent(share: float) -> str:
  return f'{100 * share:.3g} %' if share >= 1e-5 else '< 0.001 %'


def _spans(share_t: np.ndarray, written: int) -> np.ndarray:
  """The sums over spans of SPAN tokens."""
  return np.add.reduceat(share_t[:written], np.arange(0, written, SPAN))


def _level(relative: Any, top: float) -> Any:
  """Colour levels in [0, 1], on a log scale, of shares relative to the equal one."""
  decades = np.log10(np.maximum(relative, FORGOTTEN) / FORGOTTEN)
  return decades / max(np.log10(max(top, 1.0) / FORGOTTEN), 1e-9)


def _page(shares: Mapping[str, SharesRecord], pieces: Sequence[str], path: epath.Path) -> None:
  body: list[str] = []
  for name, each in shares.items():
    for m in reversed(range(len(each.moment_m))):
      written = int(each.moment_m[m])
      relative_t = each.share_mt[m][:written] * written
      first = int(np.flatnonzero(relative_t >= FORGOTTEN)[0])
      shown = text.coloured(pieces[first:written], _level(relative_t[first:], float(relative_t.max())))
      summary = f'{name}, after {written:,} tokens, without the first {first:,}, which are forgotten'
      opened = ' open' if not body else ''
      body.append(f'<details{opened}><summary>{summary}</summary>{shown}</details>')
  text.page(
    path,
    'Text in the sticky memory',
    'Darker tokens have a larger share of the memory, on a log scale. White or forgotten tokens have less '
    'than a thousandth of an equal share.',
    '\n'.join(body),
  )
