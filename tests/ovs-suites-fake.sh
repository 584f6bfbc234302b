#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Looks like a suite of Open vSwitch's, for tests of ovs-suites.py.  Its tests:
#
#   1  passes
#   2  fails with ours
#   3  fails with ours when it is run first
#   4  fails
#   5  is not of interest
#
# With a NIC, an ovs-vswitchd of test 1 reports that 7 packets were carried and
# one was not, one of test 4 that 5 packets were not.

if test "$1" = -l; then
    for i in 1 2 3 4; do
        echo "   $i: pmd.at:$i      pmd - fake $i"
    done
    echo "   5: vlog.at:1       vlog - not selected"
    exit 0
fi
report () {
    if test -n "$OVS_HANDOFF_TEST_NIC"; then
        echo "{\"rundir\":\"/x/testsuite.dir/000$1\",\"ready\":$3," \
             "\"show\":{\"reasons\":{\"nat\":1}},\"nic\":{\"nics\":[{" \
             "\"carried_packets\":$2,\"dropped_packets\":0}]}}" \
            >> "$OVS_HANDOFF_TEST_REPORT"
    fi
}
ours=false
for arg; do
    case $arg in
    AUTOTEST_PATH=*/ours:*) ours=: ;;
    esac
done
for arg; do
    result=ok
    case $arg in
    1) report 1 7 1 ;;
    2) if $ours; then result='FAILED (pmd.at:2)'; fi ;;
    3) if $ours && mkdir "$OVS_RUNDIR"/ran 2>/dev/null; then
           result='FAILED (pmd.at:3)'
       fi ;;
    4) report 4 0 5
       result='FAILED (pmd.at:4)' ;;
    *) continue ;;
    esac
    echo "  $arg: pmd - fake $arg                         $result"
done
