#!/bin/sh
# Lays out what a package has, for deb.sh and rpm.sh: packaging/stage.sh ROOT EXTRAS
# Libraries go below ROOT/opt/jobmeter/lib, every program of ours to ROOT/usr/bin, units to ROOT/usr/lib/systemd/system.
set -eu
root=${1:?usage: packaging/stage.sh ROOT EXTRAS}
extras=${2-}
python=${PYTHON:-/usr/bin/python3}
here=$(cd "$(dirname "$0")/.." && pwd)
lib="$root/opt/jobmeter/lib"
mkdir -p "$lib" "$root/usr/bin" "$root/usr/lib/systemd/system" "$root/usr/lib/sysusers.d" "$root/usr/share/doc/jobmeter"
mkdir -p "$root/etc/jobmeter"
"$python" -m pip install --quiet --no-compile --no-warn-script-location --target "$lib" "$here${extras:+[$extras]}"
rm -rf "$lib/bin"
find "$lib" -name '*.so*' -exec chmod 644 {} +

# The programs as pyproject.toml names them: NAME = "MODULE:FUNCTION".
sed -n '/^\[project\.scripts\]/,/^$/s/^\([a-z_-]*\) = "\(.*\):\(.*\)"$/\1 \2 \3/p' "$here/pyproject.toml" |
    while read -r name module function; do
        cat > "$root/usr/bin/$name" <<EOT
#!/usr/bin/python3 -I
import sys
sys.path.insert(0, "/opt/jobmeter/lib")
from $module import $function
sys.exit($function())
EOT
        chmod 755 "$root/usr/bin/$name"
    done

cp "$here"/packaging/systemd/*.service "$here"/packaging/systemd/*.timer "$root/usr/lib/systemd/system/"
cp "$here/packaging/systemd/sysusers.conf" "$root/usr/lib/sysusers.d/jobmeter.conf"
doc="$root/usr/share/doc/jobmeter"
cp -r "$here"/LICENSE-* "$here/README.md" "$here/packaging/grafana" "$doc/"
gzip -9n <"$here/CHANGELOG.md" >"$doc/changelog.gz"
