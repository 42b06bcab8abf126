"""Text in plots: HTML pages of coloured text, and lines of text in pictures."""

import functools
import html
from collections.abc import Sequence

import numpy as np
from etils import epath
from matplotlib import colors, font_manager
from matplotlib.axes import Axes

from infformer_jax.files import write_text
from infformer_jax.plotting import style

FONT = 'DejaVu Sans Mono'  # comes with matplotlib
CHARACTER_POINTS = 9 * 72 / 150  # Hinting rounds the width of a character to a whole number of dots.
FONT_SIZE = CHARACTER_POINTS / 0.602  # The width of every character relative to the size.
SHADES = 16
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #262626;
  max-width: 60em; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.3em } p, summary { color: #5f5f5f } summary { cursor: pointer; margin: .6em 0 }
pre { font: 13px/1.55 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere }
table { border-collapse: collapse }
td, th { text-align: left; padding: .3em .8em .3em 0; vertical-align: top }
td { border-top: 1px solid #e4e4e4 } td pre { margin: 0 }
mark { font-weight: bold }
"""


def page(path: epath.Path, title: str, subtitle: str, body: str) -> None:
  """Writes a self-contained HTML page; `body` is HTML."""
  head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
  text = f'<h1>{html.escape(title)}</h1>\n<p>{html.escape(subtitle)}</p>\n{body}\n'
  write_text(path, f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{text}</body></html>\n')


def coloured(pieces: Sequence[str], level_t: np.ndarray) -> str:
  """Pieces of text as HTML, each with the background colour of its level in [-1, 1]: see `shade`."""
  step_t = np.rint(np.clip(level_t, -1, 1) * SHADES).astype(int)
  starts: list[int] = np.flatnonzero(np.diff(step_t, prepend=np.inf)).tolist()
  parts = []
  for start, stop in zip(starts, [*starts[1:], len(step_t)], strict=True):
    text, step = html.escape(''.join(pieces[start:stop])), int(step_t[start])
    parts.append(f'<span style="background:{shade(step / SHADES)}">{text}</span>' if step else text)
  return f'<pre>{"".join(parts)}</pre>'


def shade(level: float) -> str:
  """From white at 0 to the colour of the memory at 1, and to that of the emptied memory at -1."""
  end = np.array(colors.to_rgb(style.COLORS['memory' if level > 0 else 'emptied']))
  red, green, blue = 1 - 0.7 * min(1.0, abs(level)) * (1 - end)
  return colors.to_hex((red, green, blue))


def line(
  axes: Axes, y: float, parts: Sequence[tuple[str, str | None]], *, indent: int = 0, ink: str = style.INK
) -> None:
  """A line of text in successive parts, each with its own background colour.

  Args:
    axes: the line starts at their left edge.
    y: its height in data coordinates.
    parts: (text, colour or None).
    indent: characters.
    ink: the colour of the letters.
  """
  place = indent
  for text, background in parts:
    shown = visible(text)
    box = {'facecolor': background, 'edgecolor': 'none', 'pad': 0.6} if background else None
    axes.annotate(
      shown, (0, y), xycoords=('axes fraction', 'data'), xytext=(place * CHARACTER_POINTS, 0),
      textcoords='offset points', family=FONT, fontsize=FONT_SIZE, color=ink, va='center', bbox=box,
      parse_math=False, annotation_clip=False,
    )  # fmt: skip
    place += len(shown)


def visible(text: str) -> str:
  """The text with a replacement for each character that the font lacks or that is not one column wide."""
  known = _characters()
  return ''.join(
    '↵' if c == '\n' else c if c.isprintable() and ord(c) in known else ' ' if c.isspace() else '□'
    for c in text
  )


def lines_axes(axes: Axes, count: int) -> None:
  """Makes room for `count` lines; line 0 is at the top."""
  axes.set(xlim=(0, 1), ylim=(count - 0.5, -0.5))
  axes.axis('off')


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  """A table as HTML; the cells are HTML."""
  lines: list[str] = [_row('th', header), *(_row('td', row) for row in rows)]
  return f'<table>{"".join(lines)}</table>'


def _row(tag: str, cells: Sequence[str]) -> str:
  return '<tr>' + ''.join(f'<{tag}>{cell}</{tag}>' for cell in cells) + '</tr>'


@functools.cache
def _characters() -> frozenset[int]:
  return frozenset(font_manager.get_font(font_manager.findfont(FONT)).get_charmap())
