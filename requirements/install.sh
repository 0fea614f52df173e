#!/bin/sh
# Makes .venv from the hash-pinned requirements and installs this checkout into it, editable.
# Every failure ends with one sentence that says what to do. PYTHON=... chooses the interpreter.
set -u

stop() {
    echo "exemplar: $*" >&2
    exit 1
}

supported='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
version='import sys; print(".".join(map(str, sys.version_info[:3])))'

if [ -n "${PYTHON:-}" ]; then
    "$PYTHON" -c "$version" >/dev/null 2>&1 || stop "PYTHON=$PYTHON does not run; name a Python 3.11, 3.12 or 3.13."
    "$PYTHON" -c "$supported" ||
        stop "$PYTHON is Python $("$PYTHON" -c "$version"), but 3.11, 3.12 or 3.13 is needed (TensorFlow supports no other)."
else
    for candidate in python3 python3.13 python3.12 python3.11; do
        if "$candidate" -c "$supported" >/dev/null 2>&1; then
            PYTHON=$candidate
            break
        fi
    done
    [ -n "${PYTHON:-}" ] ||
        stop "no Python 3.11, 3.12 or 3.13 was found (python3 is $(python3 -c "$version" 2>/dev/null || echo missing)); install one or set PYTHON=/path/to/python."
fi

echo "Making .venv with $("$PYTHON" --version). This downloads about 1 GB the first time and takes a few minutes."
rm -rf .venv
"$PYTHON" -m venv .venv || stop "cannot make a virtual environment; on Debian and Ubuntu, install the package python3-venv."
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt 2>.venv/pip.log || {
    grep -v '^WARNING' .venv/pip.log | tail -n 3 >&2
    rm -rf .venv
    stop "the requirements could not be installed; is the package index reachable from here?"
}
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . 2>.venv/pip.log || {
    cat .venv/pip.log >&2
    stop "this checkout could not be installed into .venv."
}
touch .venv/ready
