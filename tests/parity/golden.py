"""Writes tests/golden/pretrained, the cases that are tested without torch; needs the extra `parity`.

python -m tests.parity.golden
"""

import pathlib

import numpy as np
import torch
from transformers import LlamaForCausalLM

from tests.parity import cases

FOLDER = pathlib.Path(__file__).parents[1] / 'golden' / 'pretrained'
SIZES = {
  'gpt2_by_layer': {'n_layer': 2, 'n_embd': 16, 'n_head': 2, 'layer_norm_epsilon': 1e-3},
  'llama3': {'hidden_size': 16, 'intermediate_size': 24, 'tie_word_embeddings': True, 'rms_norm_eps': 1e-3},
  'qwen2_sliding': {'hidden_size': 16, 'intermediate_size': 24, 'tie_word_embeddings': False},
}


def main() -> None:
  for name, sizes in SIZES.items():
    folder = FOLDER / name
    model = cases.write(folder, name, **sizes)
    if name == 'llama3':  # Its files are bfloat16, as those of Llama 3; the logits are computed in float32.
      model.to(torch.bfloat16).save_pretrained(folder)
      model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation='eager')
    (folder / 'generation_config.json').unlink()
    ids_bt = cases.ids(2, 20)
    np.savez_compressed(folder / 'case.npz', ids=ids_bt, logits=cases.logits(model, ids_bt))


if __name__ == '__main__':
  main()
