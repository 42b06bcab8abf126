"""The capacity table of the presets: `python -m tests.benchmarks.capacity`, 1 to 2 minutes on one core."""

from infformer_jax.core import capacity
from infformer_jax.core.signal_spec import SignalSpec
from infformer_jax.memory.continuous_config import PUBLISHED_GPT2, PUBLISHED_SORTING, ContinuousConfig


def presets() -> dict[str, SignalSpec]:
  """{name: spec} of the published settings, and of our settings for several sizes."""
  specs = {
    'sorting (published)': PUBLISHED_SORTING.signal_spec(1024),
    'GPT-2 (published)': PUBLISHED_GPT2.signal_spec(512),
  }
  for contraction in (0.5, 0.75):
    for num_basis in (64, 128, 256, 512, 1024):
      ours = ContinuousConfig(num_basis=num_basis, contraction=contraction)
      specs[f'ours, τ {contraction}'.ljust(19) + f' n {num_basis}'] = ours.signal_spec(512)
  return specs


def main() -> None:
  print(f'{"preset":<28} {"n":>5} {"capacity":>9} {"per n":>6} {"effective rank":>15} {"half-life":>10}')
  for name, spec in presets().items():
    measured, n = capacity.measure(spec), spec.basis.num_basis
    print(
      f'{name:<28} {n:>5} {measured.capacity:>9.1f} {measured.capacity / n:>6.3f} '
      f'{measured.effective_rank:>15.1f} {measured.half_life:>10}',
      flush=True,
    )


if __name__ == '__main__':
  main()
