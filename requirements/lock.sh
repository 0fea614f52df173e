#!/bin/sh
# Resolves the requirements for every supported Python and platform, with hashes and without any host's name.
set -eu
command -v uv >/dev/null || { echo "exemplar: make lock needs uv; see its documentation for how to install it." >&2; exit 1; }
lock() {
    output=$1
    shift
    uv pip compile pyproject.toml --constraint requirements/constraints.in --universal --python-version 3.11 \
        --generate-hashes --no-header --no-annotate --quiet --upgrade "$@" --output-file "requirements/$output"
}
lock client.txt
lock server.txt --extra server --extra index --extra images
lock dev.txt --extra dev
