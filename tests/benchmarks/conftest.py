"""pytest imports every module for its doctests; contestants that are not installed are left out."""

from tests.benchmarks.measure import installed

collect_ignore = [] if installed('torch') else ['ltm_torch.py']
