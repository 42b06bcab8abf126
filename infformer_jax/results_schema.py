"""The JSON files with figures that programs exchange: results.json, point.json and ablation.json.

Evaluation and sweeps write them, tables and plots read them. A figure that cannot be given is None, and
`<name>_reason` beside it says why. Units are in the names.
"""

from typing import Any, Literal, NotRequired, TypedDict


class Cost(TypedDict):
  """What a model costs, from shapes alone (evaluation/cost.py)."""

  num_parameters: int
  memory_bytes_per_lane: int  # the states of the long memories of all layers
  cache_bytes_per_lane: int  # the short-term windows, and the past that is not written yet
  forward_flops_per_token: int
  memory_flops_per_token: int  # the part of the long memory


class PerToken(TypedDict):
  """Means over a set of tokens."""

  loss_nats_per_token: float | None
  loss_nats_per_token_reason: NotRequired[str]
  perplexity_per_token: float | None
  perplexity_per_token_reason: NotRequired[str]
  accuracy: float | None  # the share of targets that were the most likely token
  accuracy_reason: NotRequired[str]
  num_tokens: int


class PerTokenAndBeyond(PerToken):
  """The same, and again over the tokens beyond the reach of the short-term window."""

  beyond_reach: PerToken | None
  beyond_reach_reason: NotRequired[str]


class ViewFigures(PerTokenAndBeyond):
  """The figures of one view (memory/views.py)."""

  # exp of all nats over the words of the text, PG-19's convention; None if a target is <unk>
  perplexity_per_word: float | None
  perplexity_per_word_reason: NotRequired[str]
  bits_per_byte: float | None
  bits_per_byte_reason: NotRequired[str]
  # Metrics of the reads, of memories that have them.
  neighbours_recall: NotRequired[float | None]
  neighbours_recall_reason: NotRequired[str]


class ControlFigures(ViewFigures):
  """The figures of a control, over the segments in which it exists."""

  num_segments_left_out: int
  memory_over_the_same_tokens: PerTokenAndBeyond


class Difference(TypedDict):
  """Loss with the memory minus loss with a control over the same tokens, paired by document."""

  nats_per_token: float | None
  nats_per_token_reason: NotRequired[str]
  standard_error: float | None
  standard_error_reason: NotRequired[str]
  num_documents: int
  num_documents_with_lower_loss: int


class Differences(TypedDict):
  """By control."""

  emptied: Difference | None
  emptied_reason: NotRequired[str]
  exchanged: Difference | None
  exchanged_reason: NotRequired[str]


class DifferenceByPosition(TypedDict):
  """One entry per bin; None where the control does not exist."""

  nats_per_token: list[float | None]
  standard_error: list[float | None]


class ByPosition(TypedDict):
  """Loss by position in the document: one entry per bin."""

  start_tokens: list[int]
  stop_tokens: list[int]
  num_tokens: list[int]
  num_documents: list[int]
  loss_nats_per_token: dict[str, list[float | None]]  # by view
  memory_minus: dict[str, DifferenceByPosition]  # by control


ByGroup = dict[str, dict[str, PerToken]]
"""By group of targets, then by view; {} where the split does not have groups."""


class DocumentSums(TypedDict):
  """Sums over every document; entry i is document i of the split, 0 if it was not evaluated."""

  num_tokens: list[int]
  nats: list[float | None]  # None: not a finite number
  num_tokens_beyond_reach: list[int]
  nats_beyond_reach: list[float | None]


class Summary(TypedDict):
  """The figures that follow from the losses (evaluation/results.py)."""

  num_documents: int
  num_words: int | None
  num_words_reason: NotRequired[str]
  num_bytes: int | None
  num_bytes_reason: NotRequired[str]
  unk_share: float  # of the targets: <unk> replaces text that the tokenizer cannot represent
  beyond_reach_from_token: int
  memory: ViewFigures
  emptied: ControlFigures | None
  emptied_reason: NotRequired[str]
  exchanged: ControlFigures | None
  exchanged_reason: NotRequired[str]
  memory_minus: Differences  # beyond the reach
  by_position: ByPosition
  by_group: ByGroup
  by_document: dict[str, DocumentSums]  # by view, over the segments in which it exists


class Settings(TypedDict):
  """Sections of the config with which a model was evaluated."""

  evaluation: dict[str, Any]
  model: dict[str, Any]


class Results(Summary):
  """results.json and results_NAME.json."""

  step: int  # the number of training steps
  split: str
  corpus: dict[str, Any]  # the fingerprint of the data
  cost: Cost
  settings: Settings


class Timing(TypedDict):
  """Medians on one device (evaluation/cost.py)."""

  ms_per_segment_forward: float  # of all lanes together
  ms_per_segment_forward_backward: float
  peak_memory_bytes: int | None  # None where the backend does not say


class SignalFigures(TypedDict):
  """What the signal of the first continuous memory can hold; None where the figure is not defined."""

  capacity: float | None
  effective_rank: float | None
  horizon_tokens: NotRequired[float | None]  # runs of earlier versions do not have it


class PointFigures(Cost, Timing, SignalFigures):
  """point.json: one finished run of a sweep."""

  values: list[str]  # of the axes
  seed: int
  step: int
  accuracy: float | None
  loss_nats_per_token: float | None
  perplexity_per_word: float | None
  accuracy_by_group: dict[str, float | None]
  is_task: bool
  # What paired comparisons need; runs of earlier versions do not have it.
  memory_kind: NotRequired[str]  # model.memory.kind
  measured_on: NotRequired[dict[str, Any]]  # the evaluated text (evaluation/perplexity.py)
  by_document: NotRequired[DocumentSums]  # of the view 'memory'
  regression_error: float | None
  device: str


Metric = Literal['accuracy', 'loss_nats_per_token', 'perplexity_per_word']
"""Figures of the quality of a run."""

Property = Literal[
  'regression_error',
  'capacity',
  'effective_rank',
  'num_parameters',
  'memory_bytes_per_lane',
  'memory_flops_per_token',
  'ms_per_segment_forward',
  'ms_per_segment_forward_backward',
  'peak_memory_bytes',
]
"""The other figures that a table of runs shows, in this order."""


class NamedFigures(PointFigures):
  """The same, with the name of the run's directory."""

  run: str


class SweepAxis(TypedDict):
  """A config key and its values."""

  key: str
  values: list[str]


Measure = Literal['loss_nats_per_token', 'loss_beyond_reach_nats_per_token', 'accuracy']
"""What is compared: losses over all tokens and over those beyond the reach; of a task accuracy and loss."""


class Comparison(TypedDict):
  """A setting of a sweep minus the setting without a memory, paired by seed and by document."""

  measure: Measure
  values: list[str]  # of the axes
  minus: list[str]  # those of the setting without a memory
  memory_kind: str
  num_seeds: int  # those that are finished in both settings
  num_documents: int | None  # None for accuracy
  difference: float | None  # the mean over seeds
  difference_reason: NotRequired[str]
  standard_error_over_seeds: float | None  # of the mean over seeds, as the next; None for one seed
  standard_error_over_documents: float | None  # None for accuracy and for one document
  is_ceiling: bool  # the exact window (`recent`) with the largest gain
  significant_gain: float | None  # the ceiling's must be larger; None for others and for one seed
  share_of_ceiling: float | None  # of its gain, which must be significant
  share_of_ceiling_reason: NotRequired[str]


class Sweep(TypedDict):
  """ablation.json."""

  axes: list[SweepAxis]
  names: list[str]  # of the axes, in tables
  metric: Metric
  missing: list[str]  # runs that are not finished
  # Means over seeds: the values of the axes by their names, `seeds`, the metric and its `_spread`,
  # `accuracy_by_group`, and each `Property`.
  rows: list[dict[str, Any]]
  points: list[NamedFigures]
  # Sweeps of earlier versions have neither.
  comparisons: NotRequired[list[Comparison]]  # by measure, then by setting; [] if every setting has a memory
  not_compared: NotRequired[list[str]]  # runs that an earlier version has measured, without `by_document`
