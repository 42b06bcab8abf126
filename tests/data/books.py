"""A tiny copy of the PG-19 bucket."""

from infformer_jax.data import prepare, tokenizers
from tests.data.texts import NOWHERE

BOOKS = {
  'train/1': 'One.\r\n\r\nTwo.\n',
  'train/2': ' é \U0001f600',
  'validation/30': 'x y',
  'test/4': 'z z',
}
METADATA = (
  '1,"Emma, or: the ""match"" maker",1815,http://a/1\n2,Käthe,1900,http://a/2\n'
  '30,Plain,1901,http://a/30\n4,"Two\nlines",1902,http://a/4\n'
)
TITLES = {'1': 'Emma, or: the "match" maker', '2': 'Käthe', '30': 'Plain', '4': 'Two\nlines'}


def write_books(root, books=BOOKS, metadata=METADATA):
  for name, text in books.items():
    path = root / f'{name}.txt'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
  (root / 'metadata.csv').write_bytes(metadata.encode())
  return root


def splits(config):
  divided = config.open(NOWHERE).splits(tokenizers.Bytes())
  return {name: dict(own.read(range(len(own)))) for name, own in divided.items()}


def run(source_dir, data_dir, *flags):
  return prepare.main(['pg19', f'--source_dir={source_dir}', f'--data_dir={data_dir}', *flags])
