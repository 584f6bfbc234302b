# SPDX-License-Identifier: Apache-2.0

# HANDOFF_NEED_FILE(DIRECTORY, FILE, OPTION, WHAT)
#
# Stops unless DIRECTORY has FILE.
AC_DEFUN([HANDOFF_NEED_FILE],
  [AS_IF([test ! -e "$1/$2"],
     [AC_MSG_ERROR([$1 does not hold $4 ($2 is missing there).  Give the right directory with $3.])])])

# HANDOFF_OVS_VAR(SHELL-VARIABLE, MAKE-VARIABLE)
#
# Reads what configure stored in MAKE-VARIABLE of OVS's Makefile.
AC_DEFUN([HANDOFF_OVS_VAR],
  [$1=`sed -n 's/^$2 = *//p' "$ovs_builddir/Makefile"`])

# HANDOFF_CHECK_OVS
#
# Finds OVS's source tree and its build, and takes over the flags that decide
# how OVS's structures are laid out and what its libraries need.
AC_DEFUN([HANDOFF_CHECK_OVS],
  [m4_define([handoff_ovs_series], [3.1])
   AC_ARG_WITH([ovs-source],
     [AS_HELP_STRING([--with-ovs-source=DIR],
                     [source tree of Open vSwitch handoff_ovs_series (required)])],
     [], [with_ovs_source=no])
   AC_ARG_WITH([ovs-build],
     [AS_HELP_STRING([--with-ovs-build=DIR],
                     [where that source tree was built (default: the source
                      tree itself)])],
     [], [with_ovs_build=$with_ovs_source])
   AC_MSG_CHECKING([for Open vSwitch])
   AS_CASE([$with_ovs_source],
     [no|yes|''],
     [AC_MSG_RESULT([no])
      AC_MSG_ERROR([the source tree of Open vSwitch is needed: --with-ovs-source=DIR.  "utilities/quickstart build" prepares one from Debian's package openvswitch-source.])])
   AS_CASE([$with_ovs_build], [no|yes|''], [with_ovs_build=$with_ovs_source])
   AS_IF([ovs_srcdir=`cd "$with_ovs_source" 2>/dev/null && pwd`], [],
     [AC_MSG_ERROR([$with_ovs_source (--with-ovs-source) is not a directory])])
   AS_IF([ovs_builddir=`cd "$with_ovs_build" 2>/dev/null && pwd`], [],
     [AC_MSG_ERROR([$with_ovs_build (--with-ovs-build) is not a directory])])
   HANDOFF_NEED_FILE([$ovs_srcdir], [lib/conntrack-private.h],
     [--with-ovs-source], [a source tree of Open vSwitch])
   HANDOFF_NEED_FILE([$ovs_srcdir], [vswitchd/bridge.c],
     [--with-ovs-source], [a source tree of Open vSwitch])

   # The version first: it explains best why anything else is missing.
   ovs_source_version=`sed -n 's/^@<:@A-Z_@:>@*INIT(openvswitch, *\(@<:@0-9.@:>@*\).*/\1/p' "$ovs_srcdir/configure.ac"`
   AS_CASE([$ovs_source_version],
     [handoff_ovs_series.*], [],
     [AC_MSG_ERROR([$ovs_srcdir is Open vSwitch ${ovs_source_version:-of unknown version}; supported is handoff_ovs_series.x])])

   m4_foreach([file], [[config.h], [Makefile], [vswitchd/ovs-vswitchd.o],
                       [vswitchd/system-stats.o],
                       [ofproto/libofproto.la],
                       [lib/libsflow.la], [lib/libopenvswitch.la]],
     [HANDOFF_NEED_FILE([$ovs_builddir], file, [--with-ovs-build],
                        [a complete build of Open vSwitch])
     ])
   HANDOFF_OVS_VAR([OVS_VERSION], [VERSION])
   AS_CASE([$OVS_VERSION],
     [handoff_ovs_series.*], [],
     [AC_MSG_ERROR([$ovs_builddir is a build of Open vSwitch ${OVS_VERSION:-of unknown version}; supported is handoff_ovs_series.x])])
   AS_IF([test "$OVS_VERSION" != "$ovs_source_version"],
     [AC_MSG_ERROR([$ovs_builddir is a build of Open vSwitch $OVS_VERSION, but $ovs_srcdir is $ovs_source_version])])
   m4_foreach([archive], [[ofproto/.libs/libofproto.a],
                          [lib/.libs/libsflow.a],
                          [lib/.libs/libopenvswitch.a]],
     [HANDOFF_NEED_FILE([$ovs_builddir], archive, [--with-ovs-build],
                        [a build of Open vSwitch with static libraries])
     ])
   for la in ofproto/libofproto lib/libopenvswitch; do
     AS_IF([grep -q "^library_names='..*'" "$ovs_builddir/$la.la"],
       [AC_MSG_ERROR([$ovs_builddir was configured with --enable-shared; configure Open vSwitch with --disable-shared, because only members of a static library can be replaced])])
   done
   AC_MSG_RESULT([$OVS_VERSION])

   # Instruction set, macros and sanitizers that OVS's own objects were built
   # with; the rest of its CFLAGS does not concern us.
   HANDOFF_OVS_VAR([ovs_cflags], [CFLAGS])
   HANDOFF_OVS_VAR([ovs_more_cflags], [OVS_CFLAGS])
   HANDOFF_OVS_VAR([ovs_cppflags], [CPPFLAGS])
   HANDOFF_OVS_VAR([ovs_ssl_includes], [SSL_INCLUDES])
   HANDOFF_OVS_VAR([ovs_ldflags], [LDFLAGS])
   HANDOFF_OVS_VAR([ovs_more_ldflags], [OVS_LDFLAGS])
   HANDOFF_OVS_VAR([ovs_ssl_ldflags], [SSL_LDFLAGS])
   HANDOFF_OVS_VAR([ovs_dpdk_ldflags], [DPDK_vswitchd_LDFLAGS])
   HANDOFF_OVS_VAR([ovs_libs], [LIBS])
   OVS_CFLAGS=
   ovs_sanitizers=
   ovs_include=no
   for flag in $ovs_cflags $ovs_more_cflags; do
     AS_IF([test $ovs_include = yes],
       [AS_VAR_APPEND([OVS_CFLAGS], [" -include $flag"])
        ovs_include=no])
     AS_CASE([$flag],
       [-fsanitize=*], [AS_VAR_APPEND([OVS_CFLAGS], [" $flag"])
                        AS_VAR_APPEND([ovs_sanitizers], [" $flag"])],
       [-include], [ovs_include=yes],
       [-m*|-D*|-U*], [AS_VAR_APPEND([OVS_CFLAGS], [" $flag"])],
       dnl Other projects' headers: what GCC warns of in them is not ours.
       [-I*], [AS_VAR_APPEND([OVS_CFLAGS],
                 [" `AS_ECHO(["$flag"]) | sed 's/^-I/-isystem /'`"])])
   done
   AS_IF([grep -q '^am__append_@<:@0-9@:>@* = -DNDEBUG' "$ovs_builddir/Makefile"],
     [AS_VAR_APPEND([OVS_CFLAGS], [" -DNDEBUG"])])
   OVS_CPPFLAGS="$ovs_cppflags $ovs_ssl_includes"
   OVS_LDFLAGS="$ovs_sanitizers $ovs_ldflags $ovs_more_ldflags $ovs_ssl_ldflags"
   OVS_VSWITCHD_LDFLAGS=$ovs_dpdk_ldflags
   OVS_LIBS=$ovs_libs
   AC_SUBST([ovs_srcdir])
   AC_SUBST([ovs_builddir])
   AC_SUBST([OVS_VERSION])
   AC_SUBST([OVS_CFLAGS])
   AC_SUBST([OVS_CPPFLAGS])
   AC_SUBST([OVS_LDFLAGS])
   AC_SUBST([OVS_VSWITCHD_LDFLAGS])
   AC_SUBST([OVS_LIBS])])

# HANDOFF_PACKAGE(VARIABLE, MODULE, DEBIAN-PACKAGE)
#
# Looks for pkg-config's MODULE and notes DEBIAN-PACKAGE if it is missing.
AC_DEFUN([HANDOFF_PACKAGE],
  [PKG_CHECK_MODULES([$1], [$2], [],
     [AS_VAR_APPEND([handoff_missing], [" $3"])])])

# HANDOFF_CHECK_PACKAGES
#
# Looks for the libraries, and names all missing ones at once.
AC_DEFUN([HANDOFF_CHECK_PACKAGES],
  [m4_pattern_forbid([^PKG_])
   PKG_PROG_PKG_CONFIG
   AS_IF([test -z "$PKG_CONFIG"],
     [AC_MSG_ERROR([pkg-config is missing; on Debian: apt-get install pkg-config])])
   handoff_missing=
   HANDOFF_PACKAGE([LIBMNL], [libmnl], [libmnl-dev])
   HANDOFF_PACKAGE([LIBNL], [libnl-3.0], [libnl-3-dev])
   HANDOFF_PACKAGE([LIBNL_ROUTE], [libnl-route-3.0], [libnl-route-3-dev])
   HANDOFF_PACKAGE([CHECK], [check], [check])
   AS_IF([test "$PYTHON3" = no],
     [AS_VAR_APPEND([handoff_missing], [" python3"])])
   AS_IF([test -n "$handoff_missing"],
     [AC_MSG_ERROR([missing libraries or tools; on Debian: apt-get install$handoff_missing])])])

# HANDOFF_CHECK_DPDK
#
# The driver for DPDK ports.  DPDK's libraries come with OVS's own flags: here
# it is only made sure that both are there.
AC_DEFUN([HANDOFF_CHECK_DPDK],
  [AC_ARG_WITH([dpdk],
     [AS_HELP_STRING([--with-dpdk],
                     [build the driver for DPDK ports (rte_flow); Open vSwitch
                      must have been configured with --with-dpdk=shared])],
     [], [with_dpdk=no])
   AS_CASE([$with_dpdk],
     [yes|no|shared], [],
     [AC_MSG_ERROR([--with-dpdk=$with_dpdk: only --with-dpdk, which uses the DPDK that pkg-config finds, is supported])])
   DPDK_CPPFLAGS=
   AS_IF([test "$with_dpdk" != no],
     [PKG_CHECK_MODULES([DPDK], [libdpdk], [],
        [AC_MSG_ERROR([--with-dpdk needs DPDK; on Debian: apt-get install libdpdk-dev])])
      AC_MSG_CHECKING([whether Open vSwitch was built with DPDK])
      AS_IF([grep -q '^@%:@define DPDK_NETDEV 1' "$ovs_builddir/config.h"],
        [AC_MSG_RESULT([yes])],
        [AC_MSG_RESULT([no])
         AC_MSG_ERROR([$ovs_builddir was built without DPDK; configure Open vSwitch with --with-dpdk=shared, or ovs-handoff without --with-dpdk])])
      handoff_dpdk=`$PKG_CONFIG --modversion libdpdk`
      DPDK_CPPFLAGS=-DHANDOFF_DPDK],
     [handoff_dpdk=no])
   AC_SUBST([DPDK_CPPFLAGS])
   AC_SUBST([handoff_dpdk])
   AM_CONDITIONAL([WITH_DPDK], [test "$with_dpdk" != no])])

# HANDOFF_ENABLE_WERROR
AC_DEFUN([HANDOFF_ENABLE_WERROR],
  [AC_ARG_ENABLE([Werror],
     [AS_HELP_STRING([--enable-Werror], [make compiler warnings errors])],
     [], [enable_Werror=no])])

# HANDOFF_ENABLE_SANITIZERS
AC_DEFUN([HANDOFF_ENABLE_SANITIZERS],
  [AC_ARG_ENABLE([sanitizers],
     [AS_HELP_STRING([--enable-sanitizers@<:@=LIST@:>@],
                     [build with these sanitizers: "address,undefined" (the
                      default), "thread" or whatever the compiler knows])],
     [], [enable_sanitizers=no])
   AS_CASE([$enable_sanitizers],
     [no], [handoff_sanitizers=none],
     [yes], [handoff_sanitizers=address,undefined],
     [handoff_sanitizers=$enable_sanitizers])
   SANITIZER_FLAGS=
   AS_IF([test $handoff_sanitizers != none],
     [SANITIZER_FLAGS="-fsanitize=$handoff_sanitizers -fno-omit-frame-pointer"
      handoff_save_CFLAGS=$CFLAGS
      CFLAGS="$CFLAGS $SANITIZER_FLAGS"
      AC_MSG_CHECKING([whether $CC links with $SANITIZER_FLAGS])
      AC_LINK_IFELSE([AC_LANG_PROGRAM], [AC_MSG_RESULT([yes])],
        [AC_MSG_RESULT([no])
         AC_MSG_ERROR([the compiler does not support --enable-sanitizers=$handoff_sanitizers])])
      CFLAGS=$handoff_save_CFLAGS
      AS_CASE([" $ovs_sanitizers "],
        [*" -fsanitize="*], [],
        [AC_MSG_WARN([Open vSwitch was built without sanitizers; only our own code is watched, and "thread" reports races that are none])])])
   AC_SUBST([handoff_sanitizers])
   AC_SUBST([SANITIZER_FLAGS])])

# HANDOFF_ENABLE_MUTANTS
AC_DEFUN([HANDOFF_ENABLE_MUTANTS],
  [AC_ARG_ENABLE([mutants],
     [AS_HELP_STRING([--enable-mutants],
                     [build deliberate defects in, to be chosen at run time,
                      for "make check-mutants"; never install such a build])],
     [], [enable_mutants=no])
   MUTANT_CPPFLAGS=
   AS_IF([test "$enable_mutants" != no],
     [MUTANT_CPPFLAGS=-DHANDOFF_MUTANTS])
   AC_SUBST([MUTANT_CPPFLAGS])])

# HANDOFF_CC_WARNING(FLAG)
#
# Adds FLAG to WARNING_FLAGS if the compiler knows it.
AC_DEFUN([HANDOFF_CC_WARNING],
  [AS_VAR_PUSHDEF([cache], [handoff_cv_$1])
   AC_CACHE_CHECK([whether $CC accepts $1], [cache],
     [handoff_save_CFLAGS=$CFLAGS
      CFLAGS="$CFLAGS $WARNING_FLAGS -Werror $1"
      AC_COMPILE_IFELSE([AC_LANG_SOURCE([int x;])],
        [AS_VAR_SET([cache], [yes])], [AS_VAR_SET([cache], [no])])
      CFLAGS=$handoff_save_CFLAGS])
   AS_VAR_IF([cache], [yes], [AS_VAR_APPEND([WARNING_FLAGS], [" $1"])])
   AS_VAR_POPDEF([cache])])

# HANDOFF_CHECK_WARNINGS
#
# The warnings that OVS itself is built with, and strict aliasing off as there.
AC_DEFUN([HANDOFF_CHECK_WARNINGS],
  [WARNING_FLAGS=
   m4_foreach_w([flag],
     [-Wall -Wextra -Wno-sign-compare -Wpointer-arith -Wformat
      -Wformat-security -Wswitch-enum -Wunused-parameter -Wbad-function-cast
      -Wcast-align -Wcast-align=strict -Wstrict-prototypes
      -Wold-style-definition -Wmissing-prototypes -Wmissing-field-initializers
      -Wswitch-bool -Wlogical-not-parentheses -Wsizeof-array-argument
      -Wbool-compare -Wshift-negative-value -Wduplicated-cond -Wshadow
      -Wmultistatement-macros -Wthread-safety -fno-strict-aliasing],
     [HANDOFF_CC_WARNING(flag)
     ])
   AS_IF([test "$enable_Werror" = yes],
     [AS_VAR_APPEND([WARNING_FLAGS], [" -Werror"])])
   AC_SUBST([WARNING_FLAGS])])
