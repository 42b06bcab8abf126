"""Alignment of tables for the terminal."""

from infformer_jax.text_table import text_table


def test_columns_are_as_wide_as_their_widest_cell():
  assert text_table([('n', 'error'), ('1024', '-'), ('2', '0.5')]) == '\n'.join(
    ('   n  error', '1024      -', '   2    0.5')
  )


def test_names_are_left_aligned_in_a_column_of_a_minimum_width():
  rows = [('x', 'y'), ('a name', '1')]
  assert text_table(rows, names_width=8) == 'x         y\na name    1'
  assert text_table(rows, names_width=0) == 'x       y\na name  1'
