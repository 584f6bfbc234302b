#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The twin test: the same packets through stock ovs-vswitchd and ours.  Prints
# what it did.
#
# The fixed scenarios, and then TWIN_COUNT random cases (default: 96), of which
# TWIN_SEED is the first.  With TWIN_SECONDS random cases go on for so long
# instead, with new seeds.  TWIN_SELF_CHECK=yes compares stock with stock: what
# differs then is noise of the test itself.

PYTHONDONTWRITEBYTECODE=1; export PYTHONDONTWRITEBYTECODE
if test -n "${TWIN_SECONDS-}"; then
    set -- --seconds "$TWIN_SECONDS"
elif test "${TWIN_COUNT-96}" = 0; then
    set -- --fixed only
else
    set -- --seed "${TWIN_SEED-1}" --count "${TWIN_COUNT-96}" --fixed yes
fi
if test "${TWIN_SELF_CHECK-no}" = yes; then
    set -- "$@" --self-check
fi
exec /usr/bin/python3 "${srcdir-.}/tests/twin/twin.py" \
    --stock-bin "${stock_vswitchd-$ovs_builddir/vswitchd/ovs-vswitchd}" \
    --bin "${abs_top_builddir-.}/vswitchd/ovs-vswitchd" \
    --ovs-bin-dirs "$ovs_builddir/ovsdb:$ovs_builddir/utilities" \
    --schema "$ovs_srcdir/vswitchd/vswitch.ovsschema" "$@"
