#!/bin/sh
# Makes one file with everything that a node needs: packaging/zipapp.sh jobmeter.pyz; then ./jobmeter.pyz node --help
# It runs with the Python 3.11 or newer that made it, and is for machines of the same kind: libraries in C are unpacked
# once into $XDG_CACHE_HOME/jobmeter-node (or ~/.cache, or a folder of this user in /var/tmp).
set -eu
target=${1:?usage: packaging/zipapp.sh TARGET.pyz}
python=${PYTHON:-python3}
here=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m pip install --quiet --no-compile --target "$folder/app/lib" "$here"
rm -rf "$folder/app/lib/bin" "$folder/app/lib/jobmeter/manual/tree"
find "$folder/app" -name __pycache__ -prune -exec rm -rf {} +
cp "$here/packaging/zipapp_main.py" "$folder/app/__main__.py"
(cd "$folder/app/lib" && find . -type f | sort | xargs sha256sum | sha256sum | cut -c1-16) > "$folder/app/digest"
"$python" -m zipapp --compress --python "/usr/bin/env python3" --output "$target" "$folder/app"
ls -l "$target"
