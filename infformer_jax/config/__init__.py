"""Configs. A config file needs `config_dict` and `parse_argument`."""

from infformer_jax.config.parsing import config_dict, parse_argument

__all__ = ['config_dict', 'parse_argument']
