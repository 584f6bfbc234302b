#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The twin test: the same packets through stock ovs-vswitchd and ours.  Prints
# what it did.
#
# The fixed scenarios, and then random scripts of many connections each, until
# TWIN_CASES different connections (default: 10000) have passed.  TWIN_SEED is
# the first seed.  With TWIN_COUNT it is so many scripts, 0 for none.  With
# TWIN_SECONDS random scripts go on for so long instead, with new seeds.
# TWIN_JOBS processes (default: one for each processor) share them.
# TWIN_SELF_CHECK=yes compares stock with stock: what differs then is noise of
# the test itself.
#
# With TWIN_PMD=yes, several PMD threads serve the ports: random scripts alone,
# TWIN_PMD_COUNT (default: 24) of them or for TWIN_PMD_SECONDS, in one process,
# as the threads use all processors.

PYTHONDONTWRITEBYTECODE=1; export PYTHONDONTWRITEBYTECODE
if test "${TWIN_PMD-no}" = yes; then
    TWIN_JOBS=1
    if test -n "${TWIN_PMD_SECONDS-}"; then
        set -- --seconds "$TWIN_PMD_SECONDS"
    else
        set -- --seed "${TWIN_SEED-1}" --count "${TWIN_PMD_COUNT-24}"
    fi
    set -- --pmd --fixed no --slots 6 --without-off "$@"
elif test -n "${TWIN_SECONDS-}"; then
    set -- --seconds "$TWIN_SECONDS"
elif test "${TWIN_COUNT-}" = 0; then
    set -- --fixed only
elif test -n "${TWIN_COUNT-}"; then
    set -- --seed "${TWIN_SEED-1}" --count "$TWIN_COUNT" --fixed yes
else
    set -- --seed "${TWIN_SEED-1}" --cases "${TWIN_CASES-10000}" --fixed yes
fi
if test "${TWIN_SELF_CHECK-no}" = yes; then
    set -- "$@" --self-check
fi
exec /usr/bin/python3 "${srcdir-.}/tests/twin/twin.py" \
    --jobs "${TWIN_JOBS-`nproc`}" \
    --stock-bin "${stock_vswitchd-$ovs_builddir/vswitchd/ovs-vswitchd}" \
    --bin "${abs_top_builddir-.}/vswitchd/ovs-vswitchd" \
    --ovs-bin-dirs "$ovs_builddir/ovsdb:$ovs_builddir/utilities" \
    --schema "$ovs_srcdir/vswitchd/vswitch.ovsschema" "$@"
