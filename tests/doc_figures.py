"""Reads the tables of the docs and the CSV files beside them, and writes figures as the docs do."""

import csv
import math
import pathlib
import re
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence

ROOT = pathlib.Path(__file__).parents[1]

Losses = Mapping[str, Mapping[int, float]]


def read(page: str) -> str:
  return (ROOT / page).read_text(encoding='utf-8')


def records(name: str) -> list[dict[str, str]]:
  return list(csv.DictReader(read(f'docs/{name}').splitlines()))


def tables(page: str) -> list[list[list[str]]]:
  """The header and the rows of every table: of Markdown, or indented, with two spaces between cells."""
  found = []
  for block in re.findall(r'^ *\|.*\n *\|[-|]+\n(?: *\|.*\n)+', read(page), re.MULTILINE):
    header, _, *rows = ([cell.strip() for cell in line.split('|')[1:-1]] for line in block.splitlines())
    found.append([header, *rows])
  for block in re.findall(r'(?:^    \S.*\n)+', read(page), re.MULTILINE):
    found.append([re.split(' {2,}', line.strip()) for line in block.splitlines()])
  return found


def table(page: str, *columns: str) -> list[dict[str, str]]:
  """The rows, by column, of the only table whose first columns have these names."""
  ((header, *rows),) = (table for table in tables(page) if tuple(table[0][: len(columns)]) == columns)
  return [dict(zip(header, row, strict=True)) for row in rows]


def decimals(value: float, digits: int = 4, sign: str = '-') -> str:
  """Without the zero before the point."""
  return re.sub(r'^([+-]?)0\.', r'\1.', f'{value:{sign}.{digits}f}')


def with_error(differences: Sequence[float], digits: int = 4) -> str:
  return f'{decimals(statistics.fmean(differences), digits)} ± {decimals(error(differences), digits)}'


def error(values: Sequence[float]) -> float:
  """The standard error of the mean."""
  return statistics.stdev(values) / math.sqrt(len(values))


def losses(name: str, num_seeds: int = 3) -> Losses:
  """By memory and seed, of the seeds below `num_seeds`."""
  found: dict[str, dict[int, float]] = defaultdict(dict)
  for row in records(name):
    if int(row['seed']) < num_seeds:
      found[row['memory']][int(row['seed'])] = float(row['loss_nats_per_token'])
  return found


def minus(of: Losses, memory: str, other: str = 'none') -> list[float]:
  """The differences of two settings, paired by seed."""
  return [of[memory][seed] - of[other][seed] for seed in sorted(of[memory].keys() & of[other].keys())]


def accuracies(segments: str) -> dict[tuple[str, str], dict[int, list[float]]]:
  """Those of all seeds at each distance, by number of basis functions and memory."""
  found: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
  for row in [*records('recall_passkey.csv'), *records('recall_num_basis.csv')]:
    if row['segments'] == segments:
      setting = row.get('num_basis', '64'), row['memory']
      found[setting][int(row['distance'])].append(float(row['accuracy']))
  return found


def with_deviation(seeds: Sequence[float], digits: int = 2) -> str:
  return f'{decimals(statistics.fmean(seeds), digits)} ± {decimals(statistics.stdev(seeds), digits)}'
