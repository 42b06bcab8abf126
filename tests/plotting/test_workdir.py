"""All plots of a work directory, from synthetic files."""

import dataclasses
import json

import pytest

from infformer_jax.errors import UserError
from infformer_jax.plotting import workdir
from tests.plotting import inspections
from tests.plotting.figures import Words
from tests.plotting.results import BY_POSITION


def names(folder):
  return {path.name for path in folder.iterdir()}


SIGNAL = {
  'where_layers_read.png',
  'where_heads_read_layer_0_first.png',
  'sticky_histogram.png',
  'held_spans.png',
  'held_spans.html',
  'first_basis.png',
  'first_reconstruction.png',
}
NEIGHBOURS = {'retrieved_ages.png'}
CONTROL = {'profit.png', 'profit.html'}


def without(inspection, **fields):
  return dataclasses.replace(inspection, record=dataclasses.replace(inspection.record, **fields))


def even(inspection):
  """The inspection with even sampling."""
  continuous = {
    name: dataclasses.replace(each, histogram_sj=None, shares=None)
    for name, each in inspection.record.continuous.items()
  }
  return without(inspection, continuous=continuous)


@pytest.mark.parametrize(
  ('change', 'missing'),
  [
    (lambda whole: whole, set()),
    (lambda whole: dataclasses.replace(without(whole, continuous={}), signals={}), SIGNAL),
    (lambda whole: without(whole, neighbours={}), NEIGHBOURS),
    (even, {'sticky_histogram.png', 'held_spans.png', 'held_spans.html'}),
    (lambda whole: without(whole, emptied_nll_t=None), CONTROL),
  ],
  ids=['all', 'no signal', 'no neighbours', 'even sampling', 'no control'],
)
def test_each_record_of_an_inspection_has_its_plots(tmp_path, change, missing):
  change(inspections.inspection()).save(tmp_path / 'inspection')
  assert workdir.draw(tmp_path)
  assert names(tmp_path / 'plots') == (SIGNAL | NEIGHBOURS | CONTROL) - missing


def test_an_inspection_with_only_losses_has_no_plots(tmp_path):
  """This is the inspection of a model without a long-term memory."""
  losses = without(inspections.inspection(), continuous={}, neighbours={}, emptied_nll_t=None)
  dataclasses.replace(losses, signals={}).save(tmp_path / 'inspection')
  assert workdir.draw(tmp_path)
  assert names(tmp_path) == {'inspection'}


def test_results_and_logs_have_their_plots(tmp_path):
  assert not workdir.draw(tmp_path)
  by_group = {'answer': {'memory': {'accuracy': 0.5}}}
  by_position = BY_POSITION | {'num_tokens': [9, 9, 9]}
  results = {'by_position': by_position, 'beyond_reach_from_token': 256, 'by_group': by_group}
  (tmp_path / 'results.json').write_text(json.dumps(results))
  line = {'step': 1, 'split': 'train', 'loss_nats_per_token': 3.0}
  (tmp_path / 'metrics.jsonl').write_text(json.dumps(line) + '\n')
  assert workdir.draw(tmp_path)
  assert names(tmp_path / 'plots') == {'loss.png', 'loss_by_position.png', 'accuracy_by_group.png'}


def test_an_inspection_is_found_in_a_work_directory_and_in_its_own_folder(tmp_path):
  assert workdir.load_inspection(tmp_path) is None
  inspections.inspection().save(tmp_path / 'inspection')
  for folder in (tmp_path, tmp_path / 'inspection'):
    assert workdir.load_inspection(folder).step == inspections.inspection().step


def test_an_inspection_of_another_version_is_an_error_and_not_a_missing_plot(tmp_path):
  inspections.inspection().save(tmp_path / 'inspection')
  about = tmp_path / 'inspection' / 'about.json'
  about.write_text(about.read_text().replace('"histogram_sj"', '"histograms_sj"'))
  with pytest.raises(
    UserError, match="no field 'record/continuous/layer 0, first/histogram_sj'; to write it"
  ):
    workdir.draw(tmp_path)


def test_runs_that_are_compared_are_named_by_their_memories(tmp_path):
  memories = {
    'long': {'kind': 'stacked', 'first': {'kind': 'recent', 'length': 64}},
    'short': {'kind': 'stacked', 'first': {'kind': 'recent', 'length': 32}},
    'none': {'kind': 'none'},
    'copy/none': {'kind': 'none'},
  }
  mine = inspections.inspection()
  other = without(mine, nll_t=mine.record.emptied_nll_t)

  def page(name, against):
    seen, theirs = (
      dataclasses.replace(run, memory=memories[each]) for run, each in ((mine, name), (other, against))
    )
    workdir.draw_against(tmp_path / name, seen, tmp_path / against, theirs)
    return Words(tmp_path / name / 'plots' / f'profit_against_{(tmp_path / against).name}.html').text

  assert 'with long (first.length 64) than with short (first.length 32).' in page('long', 'short')
  assert 'with long (stacked) than with none (none).' in page('long', 'none')
  assert f'with {tmp_path / "none"} than with {tmp_path / "copy/none"}.' in page('none', 'copy/none')


@pytest.mark.parametrize(
  ('name', 'content'),
  [
    ('results.json', '{}'),
    ('ablation.json', ''),
    ('metrics.jsonl', '{"step": 1}\n'),
    ('metrics.jsonl', 'x\n'),
  ],
)
def test_a_damaged_file_is_one_line(name, content, tmp_path):
  (tmp_path / name).write_text(content)
  with pytest.raises(UserError, match=rf'{name}.* is damaged'):
    workdir.draw(tmp_path)
