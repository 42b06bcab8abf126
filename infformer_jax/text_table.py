"""Tables for the terminal."""

from collections.abc import Sequence


def text_table(rows: Sequence[Sequence[str]], *, names_width: int | None = None) -> str:
  """Rows of cells as lines, in right-aligned columns that are two spaces apart.

  Args:
    rows: of equal length, with the header, if any, as the first row.
    names_width: the minimum width of the first column if it holds names, which are left-aligned; None: it is
      aligned like the others.

  >>> print(text_table([('loss', 'all'), ('memory', '2.5'), ('emptied', '-')], names_width=10))
  loss        all
  memory      2.5
  emptied       -
  """
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  if names_width is not None:
    widths[0] = max(widths[0], names_width)

  def aligned(row: Sequence[str]) -> str:
    cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
    if names_width is not None:
      cells[0] = row[0].ljust(widths[0])
    return '  '.join(cells)

  return '\n'.join(map(aligned, rows))
