"""Tokenizing a corpus of text files: the time, and the peak memory of the process.

    python -m tests.benchmarks.tokenizing DIR --tokenizer=bpe:8192
    python -m tests.benchmarks.tokenizing DIR --tokenizer=bytes --copies=200

The second makes a larger corpus of it: copies of every file, each with its lines in another order.
"""

import argparse
import pathlib
import random
import resource
import tempfile
import time

from etils import epath

from infformer_jax.data.text import TextConfig


def copy(source: pathlib.Path, target: pathlib.Path, copies: int) -> int:
  """Writes the corpus, and returns its bytes."""
  size = 0
  for path in sorted(source.rglob('*.txt')):
    lines = path.read_bytes().splitlines(keepends=True)
    for number in range(copies):
      new = target / path.relative_to(source).with_name(f'{path.stem}_{number}.txt')
      new.parent.mkdir(parents=True, exist_ok=True)
      size += new.write_bytes(b''.join(lines))
      random.Random(number).shuffle(lines)
  return size


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
  parser.add_argument('source_dir', type=pathlib.Path)
  parser.add_argument('--tokenizer', required=True)
  parser.add_argument('--copies', type=int, default=1)
  options = parser.parse_args()
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    megabytes = copy(options.source_dir, folder / 'texts', options.copies) / 1e6
    start, processor = time.monotonic(), time.process_time()
    config = TextConfig(
      source_dir=str(folder / 'texts'), tokenizer=options.tokenizer, cache_dir=str(folder / 'cache')
    )
    source = config.source(epath.Path(folder / 'W'))
    tokens = sum(load()[1]['tokens'] for load in source.splits(source.tokenizer()).values())
    seconds, processor = time.monotonic() - start, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(
      f'{megabytes:,.1f} MB, {options.tokenizer}: {tokens:,} tokens in {seconds:.1f} s, '
      f'{processor:.1f} s of processor time, peak {peak:.0f} MiB'
    )


if __name__ == '__main__':
  main()
