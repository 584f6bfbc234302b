#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Generates 'configure' and the files that it needs, after a checkout from git.

set -e
cd "$(dirname "$0")"
missing=
for tool_package in autoreconf:autoconf automake:automake \
                    libtoolize:libtool pkg-config:pkg-config; do
    if ! command -v "${tool_package%%:*}" >/dev/null 2>&1; then
        missing="$missing ${tool_package#*:}"
    fi
done
if test -n "$missing"; then
    echo "$0: missing Debian packages:$missing" >&2
    exit 1
fi
autoreconf --install --force --warnings=all,no-portability
