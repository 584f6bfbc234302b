#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The plugin net_emu gives no symbol to the program that loads it, and takes
# none of Open vSwitch's from it.

set -e
plugin=$abs_top_builddir/lib/librte_net_emu.so
given=$(${NM:-nm} -D --defined-only "$plugin")
if test -n "$given"; then
    echo "$plugin gives symbols:" >&2
    echo "$given" >&2
    exit 1
fi

# What it takes from others is nothing that Open vSwitch's library has: it has
# its own copy of that, as ovs-vswitchd has.
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
${NM:-nm} -D --undefined-only "$plugin" | sed -n 's/^ *[Uw] //p' |
    sed 's/@.*//' | sort -u > "$tmp/taken"
grep -q '^rte_eth_dev_create$' "$tmp/taken" || {
    echo "$plugin takes nothing of DPDK?" >&2
    exit 1
}
${NM:-nm} --defined-only --extern-only \
    "$ovs_builddir/lib/.libs/libopenvswitch.a" 2>/dev/null |
    sed -n 's/^[0-9a-f]* [A-Z] //p' | sort -u > "$tmp/ovs"
grep -q '^flow_extract$' "$tmp/ovs" || {
    echo "$ovs_builddir: no symbols of Open vSwitch's library?" >&2
    exit 1
}
if comm -12 "$tmp/taken" "$tmp/ovs" | grep . >&2; then
    echo "$plugin takes these symbols from the program" >&2
    exit 1
fi
