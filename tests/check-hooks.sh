#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# build-aux/check-hooks must accept a hook that replaces all of a unit and
# refuse, by name, one that does not.  Works on a make-believe OVS build.

set -e
check_hooks=${srcdir-.}/build-aux/check-hooks
dir=$(mktemp -d)
trap 'rm -rf "$dir"' 0
trap 'exit 1' 1 2 15

fail () {
    echo "FAILED: $*"
    exit 1
}

mkdir -p "$dir/ovs/lib/.libs" "$dir/ovs/ofproto/.libs" "$dir/theirs" \
    "$dir/good" "$dir/bad"
echo 'int unit_a(void) { return 1; } int unit_b(void) { return 1; }' \
    > "$dir/theirs/unit.c"
echo 'int other(void) { return 1; }' > "$dir/theirs/other.c"
echo 'int unit_a(void) { return 2; } int unit_b(void) { return 2; }
      int more(void) { return 2; }' > "$dir/good/ovs-unit.c"
echo 'int unit_a(void) { return 2; }' > "$dir/bad/ovs-unit.c"
echo 'int unit_a(void); int main(void) { return unit_a() - 2; }' \
    > "$dir/good/main.c"
echo 'int unit_b(void); int main(void) { return unit_b() - 2; }' \
    > "$dir/bad/main.c"
for file in "$dir"/theirs/*.c "$dir"/good/*.c "$dir"/bad/*.c; do
    $CC -c "$file" -o "${file%.c}.o"
done
ar rc "$dir/ovs/lib/.libs/libopenvswitch.a" \
    "$dir/theirs/unit.o" "$dir/theirs/other.o" 2>/dev/null
ar rc "$dir/ovs/ofproto/.libs/libofproto.a" "$dir/theirs/other.o" 2>/dev/null

# Symbols.
sh "$check_hooks" symbols "$dir/ovs" "$dir/good/ovs-unit.o" ||
    fail "good hook refused"
if sh "$check_hooks" symbols "$dir/ovs" "$dir/bad/ovs-unit.o" \
    2> "$dir/stderr"; then
    fail "hook that leaves a symbol out accepted"
fi
grep 'hook ovs-unit.c does not define .*unit_b' "$dir/stderr" ||
    fail "no word of hook and symbol"
cp "$dir/good/ovs-unit.o" "$dir/good/ovs-nonsense.o"
if sh "$check_hooks" symbols "$dir/ovs" "$dir/good/ovs-nonsense.o" \
    2> "$dir/stderr"; then
    fail "hook of a unit that does not exist accepted"
fi
grep 'OVS has no unit nonsense.c' "$dir/stderr" || fail "no word of the unit"

# Link map: the good program has our unit, the other one OVS's.
$CC -o "$dir/program" -Wl,-Map,"$dir/map" "$dir/good/ovs-unit.o" \
    "$dir/good/main.o" "$dir/ovs/lib/.libs/libopenvswitch.a"
sh "$check_hooks" map "$dir/map" "$dir/ovs" "$dir/good/ovs-unit.o" ||
    fail "good program refused"
$CC -o "$dir/program" -Wl,-Map,"$dir/map" "$dir/good/main.o" \
    "$dir/ovs/lib/.libs/libopenvswitch.a"
if sh "$check_hooks" map "$dir/map" "$dir/ovs" "$dir/good/ovs-unit.o" \
    2> "$dir/stderr"; then
    fail "program with OVS's own unit accepted"
fi
grep "hook ovs-unit.c: OVS's own unit.c is in the program" "$dir/stderr" ||
    fail "no word of the hook"
