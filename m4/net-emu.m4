# SPDX-License-Identifier: Apache-2.0

# HANDOFF_CHECK_NET_EMU
#
# Decides whether the emulated NIC is built as a device of DPDK.  That takes
# headers for drivers, which no package for development has.
AC_DEFUN([HANDOFF_CHECK_NET_EMU],
  [AC_ARG_WITH([dpdk-source],
     [AS_HELP_STRING([--with-dpdk-source=DIR],
                     [source tree of the DPDK that is installed: build net_emu,
                      the emulated NIC as a device of DPDK])],
     [], [with_dpdk_source=no])
   AS_CASE([$with_dpdk_source],
     [no|''], [handoff_net_emu=no],
     [handoff_net_emu=yes
      AS_IF([dpdk_srcdir=`cd "$with_dpdk_source" 2>/dev/null && pwd`], [],
        [AC_MSG_ERROR([$with_dpdk_source (--with-dpdk-source) is not a directory])])
      m4_foreach([header],
        [[lib/ethdev/ethdev_driver.h], [lib/ethdev/rte_flow_driver.h],
         [drivers/bus/vdev/bus_vdev_driver.h], [lib/eal/include/dev_driver.h]],
        [HANDOFF_NEED_FILE([$dpdk_srcdir], header, [--with-dpdk-source],
                           [DPDK's source with headers for drivers; on Debian: apt-get source dpdk])
        ])
      PKG_CHECK_MODULES([NET_EMU_DPDK], [libdpdk], [],
        [AC_MSG_ERROR([--with-dpdk-source needs DPDK's libraries, too; on Debian: apt-get install libdpdk-dev])])
      dpdk_source_version=`cat "$dpdk_srcdir/VERSION"`
      dpdk_version=`$PKG_CONFIG --modversion libdpdk`
      AS_IF([test "$dpdk_source_version" != "$dpdk_version"],
        [AC_MSG_ERROR([$dpdk_srcdir is DPDK $dpdk_source_version, but DPDK $dpdk_version is installed])])
      AS_IF([grep -q '^#define DPDK_NETDEV 1' "$ovs_builddir/config.h"], [],
        [AC_MSG_ERROR([$ovs_builddir was configured without --with-dpdk, which --with-dpdk-source needs])])
      AS_CASE([" $ovs_cflags "],
        [*" -fPIC "*], [],
        [AC_MSG_ERROR([$ovs_builddir was configured without -fPIC in CFLAGS, which --with-dpdk-source needs: net_emu is a shared object])])])
   AC_SUBST([dpdk_srcdir])
   AM_CONDITIONAL([NET_EMU], [test $handoff_net_emu = yes])])
