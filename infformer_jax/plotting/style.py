"""The style of all plots. Figures are drawn without pyplot and its global state."""

import contextlib
import io
import textwrap
from collections.abc import Iterator
from typing import Any

import matplotlib
from etils import epath
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from infformer_jax.files import write_bytes

# Okabe and Ito's palette, which is distinct for any colour vision. Each name has one colour in all plots.
COLORS = {
  'memory': '#0072B2',
  'emptied': '#D55E00',
  'exchanged': '#009E73',
  'validation': '#0072B2',
  'test': '#CC79A7',
  'train': '#7A7A7A',
  'reconstruction': '#D55E00',
}
OTHER = '#56B4E9'  # everything else
INK = '#262626'
EMPTY = '#E4E4E4'  # no data, in images
COLORMAP = 'viridis'
# Open marks, so that all are visible where curves coincide.
MARKERS = 'os^DvP<>*Xph'
OPEN: Any = {'markersize': 6.5, 'markerfacecolor': 'none', 'markeredgewidth': 1.2}

RC: Any = {
  'figure.dpi': 150,
  'font.size': 9,
  'axes.titlesize': 9.5,
  'axes.titlelocation': 'left',
  'axes.labelsize': 9,
  'axes.labelcolor': INK,
  'axes.edgecolor': '#8C8C8C',
  'axes.linewidth': 0.8,
  'axes.spines.top': False,
  'axes.spines.right': False,
  'axes.axisbelow': True,
  'axes.grid': True,
  'grid.color': '#E9E9E9',
  'grid.linewidth': 0.7,
  'lines.linewidth': 1.6,
  'lines.solid_capstyle': 'round',
  'legend.frameon': False,
  'xtick.color': INK,
  'ytick.color': INK,
  'text.color': INK,
}


@contextlib.contextmanager
def canvas(path: epath.PathLike, width: float, height: float) -> Iterator[Figure]:
  """An empty figure in the style of the project, written to `path` when the block ends without an error.

  Args:
    path: the PNG file, on a disk or in a bucket; missing directories are created.
    width, height: inches, at 150 dots per inch.
  """
  with matplotlib.rc_context(RC):
    figure = Figure(figsize=(width, height), layout='constrained')
    FigureCanvasAgg(figure)
    yield figure
    picture = io.BytesIO()
    figure.savefig(picture, format='png')
    write_bytes(epath.Path(path), picture.getvalue())


def headline(figure: Figure, title: str, subtitle: str = '') -> None:
  """A bold title above the panels, and an explanation below them."""
  figure.suptitle(title, x=0.01, ha='left', fontsize=11, fontweight='bold')
  if subtitle:
    lines = textwrap.fill(subtitle, int(15 * figure.get_figwidth()))  # Digits and capitals are wide.
    figure.supxlabel(lines, x=0.01, ha='left', fontsize=8, color='#5F5F5F')


def whole_steps(axes: Axes) -> None:
  """Ticks of x at integers only, also for a range of a single integer."""
  axes.xaxis.set_major_locator(MaxNLocator('auto', steps=(1, 2, 2.5, 5, 10), integer=True, min_n_ticks=1))


def legend_beside(axes: Axes, title: str | None = None) -> None:
  """The legend to the right of the data, never over it; its lines are long enough to show dashes."""
  axes.legend(
    loc='upper left', bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2, handlelength=3.0, title=title,
    alignment='left',
  )  # fmt: skip
