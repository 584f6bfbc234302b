#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# usage: tc-guest.sh BUILD-DIR AUTOTEST-PATH [SUITE-OPTION]...
#
# Runs the suite for tc-flower in a guest (utilities/guest), where BUILD-DIR,
# the "tests" folder of the build, is writable.  Sockets need a file system of
# the guest's own, so the suite runs in memory and its logs are copied.

builddir=$1 path=$2
shift 2
dir=/run/tc-suite/tests
mkdir -p $dir

# The guest may be slow, and these programs would say so.
bin=/run/tc-suite/bin
mkdir -p $bin
for program in ovs-vsctl ovs-ofctl ovs-appctl ovsdb-tool; do
    real=$(PATH=$path:$PATH command -v $program) || exit
    printf '#!/bin/sh\nexec %s -vtimeval:off "$@"\n' "$real" > $bin/$program
    chmod +x $bin/$program
done
cp "$builddir"/atconfig $dir
sed 's/^OVS_CTL_TIMEOUT=.*/OVS_CTL_TIMEOUT=150/' "$builddir"/atlocal \
    > $dir/atlocal
cd $dir || exit
# Looking takes as long as elsewhere a test.
HANDOFF_POLL_SECONDS=0.5
export HANDOFF_POLL_SECONDS
sh "$builddir"/tc-testsuite -C $dir AUTOTEST_PATH="$bin:$path" "$@"
status=$?
# Sockets and pipes cannot be copied.
find $dir ! -type d ! -type f ! -type l -delete
rm -rf "$builddir"/tc-testsuite.dir "$builddir"/tc-testsuite.log
cp -r $dir/tc-testsuite.dir $dir/tc-testsuite.log "$builddir"
exit $status
