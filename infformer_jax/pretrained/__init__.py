"""Pretrained models of the Hugging Face ecosystem: GPT-2 and the Llama family.

    from infformer_jax import pretrained

    logits_btv = pretrained.logits(directory, ids_bt)  # of the unchanged model
    checkpoint = pretrained.Checkpoint(directory)
    config = checkpoint.model_config(segment_length=512, short_term_length=512, memory=ContinuousConfig())
    trained = checkpoint.load(config)  # with a new memory
    pretrained.save(trained, 'out')  # in the same format

`init_from` of an experiment takes such a directory too. architecture.py says how to add an architecture.
"""

from infformer_jax.pretrained.checkpoint import Checkpoint as Checkpoint
from infformer_jax.pretrained.logits import logits as logits
from infformer_jax.pretrained.save import save as save
