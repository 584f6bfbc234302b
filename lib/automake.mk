# SPDX-License-Identifier: Apache-2.0

# The NIC abstraction and its drivers.  Knows OVS's generic library only.
noinst_LTLIBRARIES += lib/libnic.la
lib_libnic_la_SOURCES = \
	lib/bad-values.c \
	lib/bad-values.h \
	lib/carrier.c \
	lib/carrier.h \
	lib/egress.c \
	lib/egress.h \
	lib/flower-action-decode.c \
	lib/flower-action-encode.c \
	lib/flower-edit.c \
	lib/flower-edit.h \
	lib/flower-match.c \
	lib/flower-private.h \
	lib/flower-stats.c \
	lib/flower.c \
	lib/flower.h \
	lib/hw-tc.c \
	lib/hw-tc.h \
	lib/mutant.h \
	lib/nic-emu-check.c \
	lib/nic-emu-check.h \
	lib/nic-emu-config.c \
	lib/nic-emu-config.h \
	lib/nic-emu-counter.h \
	lib/nic-emu-ct.c \
	lib/nic-emu-ct.h \
	lib/nic-emu-edit.c \
	lib/nic-emu-edit.h \
	lib/nic-emu-grace.c \
	lib/nic-emu-grace.h \
	lib/nic-emu-hw.c \
	lib/nic-emu-hw.h \
	lib/nic-emu-object.c \
	lib/nic-emu-object.h \
	lib/nic-emu-parse.c \
	lib/nic-emu-parse.h \
	lib/nic-emu-pass.c \
	lib/nic-emu-pass.h \
	lib/nic-emu-port.c \
	lib/nic-emu-port.h \
	lib/nic-emu-record.h \
	lib/nic-emu-replay.c \
	lib/nic-emu-replay.h \
	lib/nic-emu-store.c \
	lib/nic-emu-store.h \
	lib/nic-emu-table.c \
	lib/nic-emu-table.h \
	lib/nic-emu-window.c \
	lib/nic-emu-window.h \
	lib/nic-emu.c \
	lib/nic-emu.h \
	lib/nic-match.c \
	lib/nic-match.h \
	lib/nic-rte-flow.h \
	lib/nic-rule.c \
	lib/nic-rule.h \
	lib/nic-tc-kernel.c \
	lib/nic-tc-op.c \
	lib/nic-tc-prio.c \
	lib/nic-tc-prio.h \
	lib/nic-tc-private.h \
	lib/nic-tc.c \
	lib/nic-tc.h \
	lib/nic-wake.c \
	lib/static-seq.h \
	lib/nic.c \
	lib/nic.h \
	lib/tc-socket.c \
	lib/tc-socket.h

if WITH_DPDK
lib_libnic_la_SOURCES += \
	lib/nic-rte-flow-carrier.c \
	lib/nic-rte-flow-egress.c \
	lib/nic-rte-flow-leftover.c \
	lib/nic-rte-flow-port.c \
	lib/nic-rte-flow-private.h \
	lib/nic-rte-flow-rule.c \
	lib/nic-rte-flow.c \
	lib/rte-flow-codec-action.c \
	lib/rte-flow-codec-private.h \
	lib/rte-flow-codec.c \
	lib/rte-flow-codec.h \
	lib/rte-flow-probe.c \
	lib/rte-flow-probe.h
else
lib_libnic_la_SOURCES += \
	lib/nic-rte-flow-stub.c
endif

# The emulated NIC as a device of DPDK: a plugin, which shares no symbol with
# any program.  It is linked like a program because only here a shared object
# is wanted.
NET_EMU_SOURCES = \
	lib/net-emu-action.c \
	lib/net-emu-args.c \
	lib/net-emu-args.h \
	lib/net-emu-async.c \
	lib/net-emu-async.h \
	lib/net-emu-ct.c \
	lib/net-emu-ct.h \
	lib/net-emu-fault.c \
	lib/net-emu-fault.h \
	lib/net-emu-flow.c \
	lib/net-emu-flow.h \
	lib/net-emu-indirect.c \
	lib/net-emu-indirect.h \
	lib/net-emu-match.c \
	lib/net-emu-ovs.c \
	lib/net-emu-port.c \
	lib/net-emu-private.h \
	lib/net-emu-restrict.c \
	lib/net-emu-restrict.h \
	lib/net-emu-spec.h \
	lib/net-emu-wire.c \
	lib/net-emu-wire.h \
	lib/net-emu.c
NET_EMU_NIC_SOURCES = \
	lib/nic-emu-check.c \
	lib/nic-emu-config.c \
	lib/nic-emu-ct.c \
	lib/nic-emu-edit.c \
	lib/nic-emu-grace.c \
	lib/nic-emu-hw.c \
	lib/nic-emu-object.c \
	lib/nic-emu-parse.c \
	lib/nic-emu-pass.c \
	lib/nic-emu-port.c \
	lib/nic-emu-replay.c \
	lib/nic-emu-store.c \
	lib/nic-emu-table.c \
	lib/nic-emu-window.c \
	lib/nic-rule.c \
	lib/nic.c
EXTRA_DIST += lib/net-emu.map
if NET_EMU
noinst_PROGRAMS = lib/librte_net_emu.so
lib_librte_net_emu_so_SOURCES = $(NET_EMU_SOURCES) $(NET_EMU_NIC_SOURCES)
lib_librte_net_emu_so_CPPFLAGS = $(AM_CPPFLAGS) \
	-DALLOW_INTERNAL_API -DALLOW_EXPERIMENTAL_API \
	-isystem $(dpdk_srcdir)/lib/ethdev \
	-isystem $(dpdk_srcdir)/lib/eal/include \
	-isystem $(dpdk_srcdir)/drivers/bus/vdev
lib_librte_net_emu_so_CFLAGS = $(AM_CFLAGS) $(NET_EMU_DPDK_CFLAGS) -fPIC
lib_librte_net_emu_so_LDFLAGS = $(AM_LDFLAGS) -Wc,-shared \
	-Wl,-Bsymbolic -Wl,-z,defs -Wl,-z,nodelete -Wl,--gc-sections \
	-Wl,--version-script=$(srcdir)/lib/net-emu.map
lib_librte_net_emu_so_LDADD = \
	$(ovs_builddir)/lib/libopenvswitch.la \
	$(NET_EMU_DPDK_LIBS) -lrte_bus_vdev $(OVS_LIBS)
lib_librte_net_emu_so_DEPENDENCIES = \
	lib/net-emu.map \
	$(ovs_builddir)/lib/.libs/libopenvswitch.a
endif
