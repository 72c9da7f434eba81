#!/bin/sh
# Makes a Debian package with its own environment below /opt/jobmeter: packaging/deb.sh FOLDER [EXTRAS]
# EXTRAS is server,postgresql by default; for nodes give "" (three small libraries). Needs dpkg-deb and python3-venv.
# The package is for the Python of the machine that makes it.
set -eu
out=${1:?usage: packaging/deb.sh FOLDER [EXTRAS]}
extras=${2-server,postgresql,samples}
python=${PYTHON:-/usr/bin/python3}
here=$(cd "$(dirname "$0")/.." && pwd)
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$here/pyproject.toml" | head -1)
minor=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
next=$("$python" -c 'import sys; print("%d.%d" % (sys.version_info[0], sys.version_info[1] + 1))')
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
root="$folder/root"
mkdir -p "$root/DEBIAN" "$root/opt/jobmeter/lib" "$root/usr/bin" "$root/lib/systemd/system" "$root/usr/share/doc/jobmeter"
mkdir -p "$root/etc/jobmeter"
"$python" -m pip install --quiet --target "$root/opt/jobmeter/lib" "$here${extras:+[$extras]}"
rm -rf "$root/opt/jobmeter/lib/bin"
cat > "$root/usr/bin/jobmeter" <<EOT
#!/usr/bin/python3
import sys
sys.path.insert(0, "/opt/jobmeter/lib")
from jobmeter.run.main import main
sys.exit(main())
EOT
chmod 755 "$root/usr/bin/jobmeter"
cp "$here"/packaging/systemd/*.service "$here"/packaging/systemd/*.timer "$root/lib/systemd/system/"
cp "$here"/LICENSE-* "$here/README.md" "$here/CHANGELOG.md" "$root/usr/share/doc/jobmeter/"
cat > "$root/DEBIAN/control" <<EOT
Package: jobmeter
Version: $version
Architecture: $(dpkg --print-architecture)
Maintainer: the makers of jobmeter <jobmeter@localhost>
Depends: python3 (>= $minor), python3 (<< $next)
Section: admin
Priority: optional
Description: measures every job, user and node of a compute facility
 Collectors, node agent, gatherer, accounting server and reports, with their libraries below /opt/jobmeter.
 No unit is started: write the settings first, jobmeter sample-config NAME.
EOT
mkdir -p "$out"
dpkg-deb -Zgzip --root-owner-group --build "$root" "$out/jobmeter_${version}_$(dpkg --print-architecture).deb"
