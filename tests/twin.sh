#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The twin test: the same packets through stock ovs-vswitchd and ours.  Prints
# what it did; TWIN_COUNT is the number of random cases, TWIN_SEED the first.

PYTHONDONTWRITEBYTECODE=1; export PYTHONDONTWRITEBYTECODE
if test -n "${TWIN_SECONDS-}"; then
    set -- --seconds "$TWIN_SECONDS"
else
    set -- --seed "${TWIN_SEED-1}" --count "${TWIN_COUNT-96}" --fixed yes
fi
exec /usr/bin/python3 "${srcdir-.}/tests/twin/twin.py" \
    --stock-bin "${stock_vswitchd-$ovs_builddir/vswitchd/ovs-vswitchd}" \
    --bin "${abs_top_builddir-.}/vswitchd/ovs-vswitchd" \
    --ovs-bin-dirs "$ovs_builddir/ovsdb:$ovs_builddir/utilities" \
    --schema "$ovs_srcdir/vswitchd/vswitch.ovsschema" "$@"
