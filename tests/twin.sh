#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The twin test: the same packets through stock ovs-vswitchd and ours.  Prints
# what it did.
#
# By default only the fixed scenarios.  TWIN_COUNT is a number of random cases,
# TWIN_SEED the first; with TWIN_SECONDS it goes on for so long, with new seeds.
# Random cases still show differences, about one in a hundred, that do not come
# back when the case is run again; doc/developer-guide.md tells what is known.

PYTHONDONTWRITEBYTECODE=1; export PYTHONDONTWRITEBYTECODE
if test -n "${TWIN_SECONDS-}"; then
    set -- --seconds "$TWIN_SECONDS"
elif test -n "${TWIN_COUNT-}"; then
    set -- --seed "${TWIN_SEED-1}" --count "$TWIN_COUNT" --fixed yes
else
    set -- --fixed only
fi
exec /usr/bin/python3 "${srcdir-.}/tests/twin/twin.py" \
    --stock-bin "${stock_vswitchd-$ovs_builddir/vswitchd/ovs-vswitchd}" \
    --bin "${abs_top_builddir-.}/vswitchd/ovs-vswitchd" \
    --ovs-bin-dirs "$ovs_builddir/ovsdb:$ovs_builddir/utilities" \
    --schema "$ovs_srcdir/vswitchd/vswitch.ovsschema" "$@"
