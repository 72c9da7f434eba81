#!/bin/sh
# Makes a Debian package with its own libraries below /opt/jobmeter: packaging/deb.sh FOLDER [EXTRAS]
# EXTRAS is server,postgresql,samples,apel by default; for nodes give "" (four small libraries). Needs dpkg-deb, pip.
# The package is for the Python of the machine that makes it.
set -eu
out=${1:?usage: packaging/deb.sh FOLDER [EXTRAS]}
extras=${2-server,postgresql,samples,apel}
python=${PYTHON:-/usr/bin/python3}
here=$(cd "$(dirname "$0")/.." && pwd)
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$here/pyproject.toml" | head -1)
minor=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
next=$("$python" -c 'import sys; print("%d.%d" % (sys.version_info[0], sys.version_info[1] + 1))')
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
root="$folder/root"
"$here/packaging/stage.sh" "$root" "$extras"
mkdir -p "$root/DEBIAN"
doc="$root/usr/share/doc/jobmeter"
{
    echo 'jobmeter is under the MIT or the Apache-2.0 licence, as you like; the latter is /usr/share/common-licenses/Apache-2.0.'
    echo 'The libraries below /opt/jobmeter/lib have their own: see the folders *.dist-info there.'
    echo
    cat "$doc/LICENSE-MIT"
} >"$doc/copyright"
rm "$doc"/LICENSE-*
cat > "$root/DEBIAN/control" <<EOT
Package: jobmeter
Version: $version
Architecture: $(dpkg --print-architecture)
Maintainer: the makers of jobmeter <jobmeter@localhost>
Installed-Size: $(du -sk "$root" | cut -f1)
Depends: libc6, procps, python3 (>= $minor), python3 (<< $next)
Section: admin
Priority: optional
Description: measures every job, user and node of a compute facility
 Collectors, node agent, gatherer, accounting server and reports, with their libraries below /opt/jobmeter.
 No unit is started: write the settings first, jobmeter sample-config NAME.
EOT
cat > "$root/DEBIAN/postinst" <<'EOT'
#!/bin/sh
set -e
[ "$1" = configure ] || exit 0
if ! getent passwd jobmeter >/dev/null; then
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers jobmeter.conf
    else
        useradd --system --user-group --home-dir /var/lib/jobmeter --no-create-home --shell /usr/sbin/nologin jobmeter
    fi
fi
python3 -m compileall -q -j 0 /opt/jobmeter/lib
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    [ -z "$2" ] || systemctl try-restart 'jobmeter-*.service'
fi
EOT
cat > "$root/DEBIAN/prerm" <<'EOT'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    systemctl --quiet disable --now $(systemctl list-unit-files --no-legend 'jobmeter-*' | cut -d' ' -f1)
fi
find /opt/jobmeter -name __pycache__ -prune -exec rm -rf {} +
EOT
cat > "$root/DEBIAN/postrm" <<'EOT'
#!/bin/sh
set -e
if [ "$1" = purge ]; then
    rm -rf /etc/jobmeter
    for data in /var/lib/jobmeter*; do
        [ ! -e "$data" ] || echo "jobmeter: $data stays as it is: an account is not removed with its program"
    done
fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl reset-failed 'jobmeter-*' || :
fi
EOT
chmod 755 "$root/DEBIAN/postinst" "$root/DEBIAN/prerm" "$root/DEBIAN/postrm"
mkdir -p "$out"
dpkg-deb -Zgzip --root-owner-group --build "$root" "$out/jobmeter_${version}_$(dpkg --print-architecture).deb"
