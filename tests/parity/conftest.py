"""These have no doctests, and cannot be imported without the extra `parity`."""

collect_ignore = ['cases.py', 'golden.py']
