#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The plugin net_emu gives no symbol to the program that loads it, and takes
# none from it but those of DPDK and system libraries.

set -e
plugin=$abs_top_builddir/lib/librte_net_emu.so
given=$(${NM:-nm} -D --defined-only "$plugin")
if test -n "$given"; then
    echo "$plugin gives symbols:" >&2
    echo "$given" >&2
    exit 1
fi

# What it takes comes with a version from the library that has it; libunbound
# has none.
taken=$(${NM:-nm} -D --undefined-only "$plugin")
case $taken in
    *rte_eth_dev_create@*) ;;
    *) echo "$plugin takes nothing of DPDK?" >&2; exit 1 ;;
esac
strange=$(echo "$taken" | sed -n 's/^ *[Uw] //p' | grep -v '@' |
          grep -v -e '^ub_' -e '^__asan_' -e '^__ubsan_' -e '^__cxa_finalize$' \
                  -e '^_ITM_' -e '^__gmon_start__$' || :)
if test -n "$strange"; then
    echo "$plugin takes symbols that no library has by version:" >&2
    echo "$strange" >&2
    exit 1
fi
