"""The commands of the README and the programs of the docs run as printed, the commands with fewer steps."""

import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from tests.pretrained import golden, random_model

ROOT = pathlib.Path(__file__).parents[1]

NOT_RUN = (
  'git clone',
  'cd ',
  'pip install',
  'python -m pip install',
  'bash launch/test.sh',
  'launch/test.sh',
)
FEWER = ('--config.train.num_steps=4', '--config.evaluation.max_tokens=2000')
SMALL_MODEL = (
  '--config.model.d_model=32',
  '--config.model.num_heads=2',
  '--config.model.d_ff=64',
  '--config.model.num_layers=2',
)
BOOK = 'It was a clear evening, and the ship lay at anchor in the bay. ' * 400


PROGRAMS = ('README.md', 'docs/own_models.md')
"""The pages whose Python programs run."""


def blocks(page: str, language: str) -> list[str]:
  text = (ROOT / page).read_text(encoding='utf-8')
  return re.findall(rf'^```{language}\n(.*?)^```', text, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
  lines = [line for block in blocks('README.md', 'bash') for line in block.replace('\\\n', ' ').splitlines()]
  lines = [re.sub(r'\s+', ' ', line.partition(' #')[0]).strip() for line in lines if not line.startswith('#')]
  return [line for line in lines if line and not line.startswith(NOT_RUN)]


@pytest.fixture(scope='module')
def places(tmp_path_factory) -> dict[str, str]:
  """Values of the placeholders in the commands of the README."""
  root = tmp_path_factory.mktemp('readme')
  (root / 'book.txt').write_text(BOOK)
  books = root / 'books'
  for split, count in {'train': 8, 'validation': 2, 'test': 1}.items():
    (books / split).mkdir(parents=True)
    for number in range(count):
      (books / split / f'{number}.txt').write_text(f'Book {number}. {BOOK}')
  rows = [f'{number},A Title,1900,http://example.org/{number}' for number in range(8)]
  (books / 'metadata.csv').write_text('\n'.join(rows) + '\n')
  llama = random_model.write(root / 'llama', golden.LLAMA)
  gpt2 = random_model.write(root / 'gpt2', golden.GPT2, n_positions=128)
  return {
    'MODEL': str(llama),
    'GPT2': str(gpt2),
    'TUNED': str(root / 'tuned'),
    'EXPORTED': str(root / 'exported'),
    'GPT2_TUNED': str(root / 'gpt2_tuned'),
    'W': str(root / 'work'),
    'RECALL': str(root / 'recall'),
    'SHORT': str(root / 'short'),
    'SORT': str(root / 'sort'),
    'BASIS': str(root / 'basis'),
    'DIR': str(books),
    'TFDS_DIR': str(root / 'tfds'),
    'book.txt': str(root / 'book.txt'),
    'runs/quickstart': str(root / 'quickstart'),
  }


def dry(words: list[str]) -> list[str]:
  """The words of a command; if it needs a cloud or a cluster, those of its dry run."""
  if words[0] == 'sbatch':
    return ['bash', 'launch/slurm.sbatch', '--dry_run', *words[words.index('launch/slurm.sbatch') + 1 :]]
  if words[0] == 'launch/tpu_vm.sh':
    return [*words[:3], '--dry_run', *words[3:]]
  return words


def as_run(command: str, places: dict[str, str]) -> list[str]:
  """The command with values for its placeholders, and with small settings."""
  words = []
  for word in dry(shlex.split(command.replace('checkpoint=MODEL', f'checkpoint={places["MODEL"]}'))):
    flag, equals, value = word.partition('=')
    words.append(f'{flag}={places.get(value, value)}' if equals else places.get(word, word))
  if words[0] == 'python':
    words[0] = sys.executable
  if 'launch/quickstart.sh' in words:
    words += [f'--workdir={places["runs/quickstart"]}', *FEWER]
  if 'launch/finetune_gpt2.sh' in words:
    words += ['--size=tiny', *FEWER]
  if 'infformer_jax.ablate' in words:
    words += [*FEWER, '--index=0']
  if 'infformer_jax.main' in words:
    words += FEWER
    if any('pg19' in word for word in words) and '--mode=eval' not in words:
      words += [*SMALL_MODEL, '--config.data.tokenizer=bytes']
  return words


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_commands_run_in_the_order_of_the_readme(places):
  assert commands()
  for command in commands():
    done = subprocess.run(as_run(command, places), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f'{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}'


@pytest.mark.slow
@pytest.mark.parametrize('page', PROGRAMS)
def test_all_python_programs_run(tmp_path, page):
  programs = blocks(page, 'python')
  assert programs
  for program in programs:
    if "load('W')" in program:  # Needs a trained model; tests/test_trained_model.py runs it.
      continue
    command = [sys.executable, '-c', program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f'{program}\n{done.stderr[-3000:]}'


PAGES = sorted(path.relative_to(ROOT) for path in (ROOT / 'README.md', *(ROOT / 'docs').glob('*.md')))


def without_code(page: pathlib.Path) -> str:
  return re.sub(r'^```.*?^```', '', page.read_text(encoding='utf-8'), flags=re.MULTILINE | re.DOTALL)


def anchors(page: pathlib.Path) -> set[str]:
  """Those of its headings, by the rule of GitHub."""
  headings = re.findall(r'^#+ (.+)$', without_code(page), re.MULTILINE)
  return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


@pytest.mark.parametrize('page', PAGES, ids=str)
def test_all_linked_files_and_headings_exist(page):
  missing = []
  for link in re.findall(r'\]\((?!http)([^)]+)\)', without_code(ROOT / page)):
    name, _, heading = link.partition('#')
    target = (ROOT / page.parent / name) if name else ROOT / page
    if not target.exists() or (heading and heading not in anchors(target)):
      missing.append(link)
  assert missing == []
