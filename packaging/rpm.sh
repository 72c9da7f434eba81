#!/bin/sh
# Makes an RPM with its own libraries below /opt/jobmeter: packaging/rpm.sh FOLDER [EXTRAS]
# EXTRAS is server,postgresql,samples,apel by default; for nodes give "" (four small libraries). Needs rpmbuild, pip.
# The package is for the Python of the machine that makes it: build it on the distribution that it is for.
set -eu
out=${1:?usage: packaging/rpm.sh FOLDER [EXTRAS]}
extras=${2-server,postgresql,samples,apel}
here=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir -p "$out"
rpmbuild -bb --quiet \
    --define "_topdir $folder" \
    --define "_rpmdir $folder/RPMS" \
    --define "_dbpath $folder/db" \
    --define "source_tree $here" \
    --define "extras ${extras:-%{nil}}" \
    --define "python ${PYTHON:-/usr/bin/python3}" \
    --define "jobmeter_version $(sed -n 's/^version = "\(.*\)"/\1/p' "$here/pyproject.toml" | head -1)" \
    --define "python_minor $("${PYTHON:-/usr/bin/python3}" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" \
    "$here/packaging/jobmeter.spec"
find "$folder/RPMS" -name '*.rpm' -exec cp {} "$out/" \;
ls "$out"/jobmeter-*.rpm
