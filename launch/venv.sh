# shellcheck shell=bash
# Sourced by the scripts beside it, from the repository's root.

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# Creates .venv unless it exists. PYTHON names the interpreter; the default is the first suitable one on the PATH.
make_venv() {
  if [[ -x .venv/bin/python ]]; then
    is_new_enough .venv/bin/python && return
    echo "error: $PWD/.venv has $(.venv/bin/python --version 2>&1), but 3.11 or newer is needed; delete it" >&2
    return 1
  fi
  local candidate
  for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
    if is_new_enough "$candidate"; then
      echo "creating .venv with $("$candidate" --version)"
      "$candidate" -m venv .venv || { rm -rf .venv; return 1; }
      return
    fi
  done
  candidate=${PYTHON:-python3}
  echo "error: Python 3.11 or newer is needed, and $candidate is" \
    "$("$candidate" --version 2>/dev/null || echo 'not there'); choose another one, for example PYTHON=/usr/bin/python3.12" >&2
  return 1
}

# Installs this package into .venv, editable, with the extra named $1 (if any). Does nothing if it is up to date.
install_package() {
  local extra=${1:-} version stamp word name
  stamp=.venv/installed${extra:+-$extra}
  version="$PWD $(cat setup.cfg pyproject.toml | cksum)"
  [[ -f $stamp && $(<"$stamp") == "$version" ]] && return
  echo 'installing from PyPI into .venv (1.3 GB; a few minutes):'
  .venv/bin/python -m pip install --progress-bar=off --disable-pip-version-check -e ".${extra:+[$extra]}" |
    while read -r word name _; do
      case "$word $name" in
        Collecting*) echo "  $name" ;;
        'Installing collected') echo '  installing these packages ...' ;;
      esac
    done
  echo "$version" | tee .venv/installed >"$stamp"
}
