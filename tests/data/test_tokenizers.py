"""Tokenizers: round trips of difficult text, the ids of GPT-2's algorithm, and errors that name the file."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest
import sentencepiece

from infformer_jax.data import tokenizers
from infformer_jax.errors import ConfigError, UserError
from tests.data.texts import trained_on

NASTY = [
  '',
  ' ',
  '\n\n\n  \t x\r\n\r',
  "don't  'we'll' you've I'm 1234567890 ½ x²",
  'é e\u0301 ﬁ ü 漢字カナ \U0001f600\U0001f468\u200d\U0001f469 עברית',
  '\x00\x01\x7f\u00a0\u2028\ufeff\uffff \U0010ffff',
  '<|endoftext|> <s> </s> <unk> ▁▁ Ġ Ċ',
  'a' * 5000 + ' ' * 300 + '=' * 80,
]
CORPUS = ['the quick brown fox jumps over the lazy dog\n' * 20, 'hello world, hello there\n' * 20]


def make_bpe(folder, num_ids=300, texts=CORPUS):
  return tokenizers.from_spec(f'bpe:{num_ids}', folder, trained_on(texts))


def byte_symbols():
  """The character that represents each byte in a byte-level vocabulary: printable ones are themselves."""
  printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
  others = [byte for byte in range(256) if byte not in printable]
  return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


MERGES = ['h e', 'l l', 'he ll', 'hell o', 'Ġ w', 'o r', 'Ġw or', "' t"]


def write_gpt2(folder, merges=MERGES, end_of_text=True, without=None):
  pieces = [symbol for symbol in byte_symbols().values() if symbol != without]
  pieces += [merge.replace(' ', '') for merge in merges] + ['<|endoftext|>'] * end_of_text
  (folder / 'encoder.json').write_text(json.dumps({piece: i for i, piece in enumerate(pieces)}))
  (folder / 'vocab.bpe').write_text('\n'.join(['#version: 0.2', *merges, '']))
  return pieces


def write_sentencepiece(file, **options):
  model = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(CORPUS), model_writer=model, vocab_size=options.pop('vocab_size', 60),
    model_type='bpe', minloglevel=2, hard_vocab_limit=False, **options,
  )  # fmt: skip
  file.write_bytes(model.getvalue())
  return tokenizers.from_spec(f'sentencepiece:{file}', file.parent, list)


def make_gpt2(folder):
  write_gpt2(folder)
  return tokenizers.from_spec(f'gpt2:{folder}', folder, list)


def make_lossless_sentencepiece(folder):
  return write_sentencepiece(
    folder / 'own.model', vocab_size=400, byte_fallback=True, normalization_rule_name='identity',
    remove_extra_whitespaces=False, add_dummy_prefix=False,
  )  # fmt: skip


def make_bytes(folder):
  return tokenizers.from_spec('bytes', folder, list)


LOSSLESS = [make_bytes, make_bpe, make_gpt2, make_lossless_sentencepiece]


@pytest.mark.parametrize('make', LOSSLESS)
def test_lossless_tokenizers_reproduce_the_text(make, tmp_path):
  tokenizer = make(tmp_path)
  assert tokenizer.lossless
  # SentencePiece represents a space as ▁, so that a literal ▁ becomes a space; a NUL ends a text.
  texts = (
    NASTY if make is not make_lossless_sentencepiece else [t for t in NASTY if not {'▁', '\x00'} & set(t)]
  )
  for text in texts:
    ids = tokenizer.encode(text)
    assert ids.dtype == np.int32
    assert tokenizer.bos_id not in ids
    assert ids.size == 0 or (ids.min() >= 0 and ids.max() < tokenizer.vocab_size)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode([tokenizer.bos_id, *ids]) == text, 'BOS must decode to no text'
  for ids, text in zip(tokenizer.encode_batch(texts), texts, strict=True):
    np.testing.assert_array_equal(ids, tokenizer.encode(text))


def test_the_ids_of_bytes_are_the_bytes():
  tokenizer = tokenizers.from_spec('bytes', None, list)
  assert tokenizer.encode('aé').tolist() == [97, 0xC3, 0xA9]
  assert (tokenizer.vocab_size, tokenizer.bos_id) == (257, 256)
  assert tokenizer.decode([97, 0xC3]) == 'a\ufffd'


def test_a_trained_bpe_has_the_requested_number_of_ids_and_compresses(tmp_path):
  tokenizer = make_bpe(tmp_path)
  assert (tokenizer.vocab_size, tokenizer.bos_id) == (300, 299)
  assert len(tokenizer.encode(CORPUS[0])) < len(CORPUS[0]) / 2


def test_training_bpe_is_deterministic_across_processes_and_threads(tmp_path):
  script = (
    'import pathlib, sys\n'
    'from infformer_jax.data import tokenizers\n'
    'from tests.data.texts import trained_on\n'
    'texts = [" ".join(str(i * j % 97) for i in range(99)) for j in range(99)]\n'
    'print(tokenizers.from_spec("bpe:400", pathlib.Path(sys.argv[1]), trained_on(texts)).identity)\n'
  )
  identities = {
    subprocess.run(
      [sys.executable, '-c', script, tmp_path / threads],
      env={'RAYON_NUM_THREADS': threads, 'PYTHONHASHSEED': threads, 'PYTHONPATH': ':'.join(sys.path)},
      capture_output=True,
      check=True,
    ).stdout
    for threads in ('1', '2', '3')
  }
  assert len(identities) == 1


def test_a_stored_bpe_is_not_retrained_on_other_texts(tmp_path):
  tokenizer = make_bpe(tmp_path)

  def never(num_ids):
    raise AssertionError('trained again')

  again = tokenizers.from_spec('bpe:300', tmp_path, never)
  assert again.identity == tokenizer.identity
  np.testing.assert_array_equal(again.encode(CORPUS[0]), tokenizer.encode(CORPUS[0]))


def test_a_damaged_tokenizer_file_is_an_error_with_its_name(tmp_path):
  make_bpe(tmp_path)
  file = tmp_path / 'bpe_300.json'
  file.write_text(file.read_text()[:1000])
  with pytest.raises(UserError, match=r'bpe_300\.json is damaged'):
    make_bpe(tmp_path)


def test_a_path_that_cannot_be_written_is_an_error_with_its_name(tmp_path):
  (tmp_path / 'tokens').write_text('a file where the folder should be')
  with pytest.raises(UserError, match=r'cannot save the tokenizer in .*tokens/bpe_300\.json: File exists'):
    make_bpe(tmp_path / 'tokens')


def test_gpt2_applies_merges_in_the_order_of_its_file(tmp_path):
  pieces = write_gpt2(tmp_path)
  tokenizer = tokenizers.from_spec(f'gpt2:{tmp_path}', tmp_path, list)
  encoded = [pieces[i] for i in tokenizer.encode("hello world don't hel")]
  assert encoded == ['hello', 'Ġwor', 'l', 'd', 'Ġ', 'd', 'o', 'n', "'t", 'Ġ', 'he', 'l']
  assert tokenizer.bos_id == pieces.index('<|endoftext|>') == tokenizer.vocab_size - 1


def test_a_missing_bos_is_appended_as_one_id(tmp_path):
  pieces = write_gpt2(tmp_path, end_of_text=False)
  tokenizer = tokenizers.from_spec(f'gpt2:{tmp_path}', tmp_path, list)
  assert (tokenizer.bos_id, tokenizer.vocab_size) == (len(pieces), len(pieces) + 1)
  with_bos = write_sentencepiece(tmp_path / 'with.model', bos_id=1)
  assert with_bos.bos_id == 1
  without = write_sentencepiece(tmp_path / 'without.model', bos_id=-1)
  assert without.bos_id == without.vocab_size - 1
  assert without.encode('hello world').max() < without.bos_id


def test_a_sentencepiece_model_that_loses_line_breaks_is_lossy(tmp_path):
  tokenizer = write_sentencepiece(tmp_path / 'own.model')
  assert not tokenizer.lossless
  assert tokenizer.unk_id in tokenizer.encode('\N{CJK UNIFIED IDEOGRAPH-6F22}')
  assert tokenizer.decode(tokenizer.encode('hello\nthe  world')) == 'hello the world'


@pytest.mark.parametrize(
  ('spec', 'message'),
  [
    ('byte', r"tokenizer = 'byte': .*did you mean 'bytes'\? \(allowed: bytes, bpe:4096, gpt2:DIR"),
    ('bp:400', r"did you mean 'bpe:4096'"),
    ('bytes:', "must have the form 'bytes'"),
    ('', r"tokenizer = '': .*allowed: bytes, bpe:4096"),
    ('bytes:3', "must have the form 'bytes'"),
    ('bpe', "must have the form 'bpe:4096'"),
    ('gpt2:', "must have the form 'gpt2:DIR'"),
    ('pretrained:hf:gpt2', "tokenizer = 'hf:gpt2' must have the form hf:ORGANIZATION/NAME"),
    ('bpe:256', 'must have 257 '),
    ('bpe:many', 'must have 257 '),
    ('bpe:99999999999', 'to 9,999,999 ids'),
  ],
)
def test_an_invalid_name_is_an_error_with_the_allowed_ones(spec, message):
  with pytest.raises(ConfigError, match=message):
    tokenizers.check_spec(spec)


def test_missing_files_are_errors_with_their_names(tmp_path):
  with pytest.raises(UserError, match=r'encoder\.json: No such file'):
    tokenizers.from_spec(f'gpt2:{tmp_path}', tmp_path, list)
  with pytest.raises(UserError, match=r'no\.model: No such file'):
    tokenizers.from_spec(f'sentencepiece:{tmp_path}/no.model', tmp_path, list)


def test_files_in_another_format_are_errors_with_their_names(tmp_path):
  for content in ('hello', ''):
    (tmp_path / 'own.model').write_text(content)
    with pytest.raises(
      UserError, match=r"data\.tokenizer = 'sentencepiece:.*own\.model' must be a SentencePiece model"
    ):
      tokenizers.from_spec(f'sentencepiece:{tmp_path}/own.model', tmp_path, list)
  for change in (
    lambda: write_gpt2(tmp_path, without='a'),  # A byte without an id would be lost silently.
    lambda: write_gpt2(tmp_path, merges=['x yz']),
    lambda: (tmp_path / 'vocab.bpe').write_text('#version\none two three\n'),
    lambda: (tmp_path / 'encoder.json').write_text('{"a": 5}'),
    lambda: (tmp_path / 'encoder.json').write_text('no JSON'),
  ):
    write_gpt2(tmp_path)
    change()
    with pytest.raises(
      UserError, match=r"data\.tokenizer = 'gpt2:.*' has files that are not a byte-level BPE"
    ):
      tokenizers.from_spec(f'gpt2:{tmp_path}', tmp_path, list)
