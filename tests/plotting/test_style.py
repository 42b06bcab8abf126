"""The style that all plots share."""

import pytest

from infformer_jax.plotting import style


def test_a_subtitle_with_digits_and_capitals_stays_inside_the_figure(tmp_path):
  for width in (4.3, 8.6):
    with style.canvas(tmp_path / 'wide.png', width, 2) as figure:
      style.headline(figure, 'Wide', 'Of 16,384 tokens in PG-19 ' * 12)
    figure.canvas.draw()
    (subtitle,) = (text for text in figure.texts if '16,384' in text.get_text())
    assert subtitle.get_window_extent().x1 <= figure.bbox.x1


def test_nothing_is_written_if_drawing_fails(tmp_path):
  (tmp_path / 'fit.png').write_text('the old one')

  def draw():
    with style.canvas(tmp_path / 'fit.png', 2, 2) as figure:
      figure.subplots()
      raise KeyError('values')

  with pytest.raises(KeyError):
    draw()
  assert [path.name for path in tmp_path.iterdir()] == ['fit.png']
  assert (tmp_path / 'fit.png').read_text() == 'the old one'


def test_ticks_of_steps_are_integers(tmp_path):
  for steps in ((1,), (1, 2), (10, 2500)):
    with style.canvas(tmp_path / 'steps.png', 3, 2) as figure:
      axes = figure.subplots()
      axes.plot(steps, steps)
      style.whole_steps(axes)
    ticks = axes.get_xticks()
    assert len(ticks)
    assert all(tick == round(tick) for tick in ticks)
