# SPDX-License-Identifier: Apache-2.0

# Connections, megaflows, paths and the engine.
noinst_LTLIBRARIES += datapath-offload/libdatapath-offload.la
datapath_offload_libdatapath_offload_la_SOURCES = \
	datapath-offload/commands-conn.c \
	datapath-offload/commands-conn.h \
	datapath-offload/commands-trace.c \
	datapath-offload/commands-why.c \
	datapath-offload/commands.c \
	datapath-offload/commands.h \
	datapath-offload/conn-index.c \
	datapath-offload/conn-path.c \
	datapath-offload/conn-show.c \
	datapath-offload/conn-show.h \
	datapath-offload/ct-conn.c \
	datapath-offload/ct-conn.h \
	datapath-offload/ct-tail.h \
	datapath-offload/dp-bond-stats.h \
	datapath-offload/dp-registry.c \
	datapath-offload/dp-registry.h \
	datapath-offload/egress-ids.c \
	datapath-offload/egress-view.c \
	datapath-offload/egress-view.h \
	datapath-offload/engine-nics.c \
	datapath-offload/engine-private.h \
	datapath-offload/engine-thread.c \
	datapath-offload/engine-thread.h \
	datapath-offload/engine.c \
	datapath-offload/engine.h \
	datapath-offload/hook-version.h \
	datapath-offload/megaflow-copies.c \
	datapath-offload/megaflow-mirror.c \
	datapath-offload/megaflow-mirror.h \
	datapath-offload/megaflow-private.h \
	datapath-offload/megaflow-program.c \
	datapath-offload/megaflow-program.h \
	datapath-offload/megaflow-stats.c \
	datapath-offload/offload-config.c \
	datapath-offload/offload-config.h \
	datapath-offload/offload-nic.c \
	datapath-offload/offload-nic.h \
	datapath-offload/offload-ports.c \
	datapath-offload/offload-ports.h \
	datapath-offload/offload.c \
	datapath-offload/offload.h \
	datapath-offload/path-cache.c \
	datapath-offload/path-compile.c \
	datapath-offload/path-fields.c \
	datapath-offload/path-packet.c \
	datapath-offload/path-packet.h \
	datapath-offload/path-private.h \
	datapath-offload/path.c \
	datapath-offload/path.h \
	datapath-offload/provider.c \
	datapath-offload/provider.h \
	datapath-offload/reason.c \
	datapath-offload/reason.h \
	datapath-offload/tcp-resync.c \
	datapath-offload/tcp-resync.h \
	datapath-offload/test-switch.c \
	datapath-offload/test-switch.h \
	datapath-offload/timer-wheel.c \
	datapath-offload/timer-wheel.h \
	datapath-offload/tracked-conn-arm.c \
	datapath-offload/tracked-conn-compose.c \
	datapath-offload/tracked-conn-private.h \
	datapath-offload/tracked-conn-room.c \
	datapath-offload/tracked-conn-state.c \
	datapath-offload/tracked-conn-timer.c \
	datapath-offload/tracked-conn-wait.c \
	datapath-offload/tracked-conn.c

# OVS's units with hooks.  The conntrack ones are apart because unit tests use
# them without the others.
CT_HOOK_SOURCES = \
	datapath-offload/ovs-conntrack-other.c \
	datapath-offload/ovs-conntrack-tcp.c \
	datapath-offload/ovs-conntrack.c
HOOK_SOURCES += \
	$(CT_HOOK_SOURCES) \
	datapath-offload/ovs-dpif-netdev.c \
	datapath-offload/ovs-dpif.c \
	datapath-offload/ovs-netdev-offload.c
if WITH_DPDK
HOOK_SOURCES += datapath-offload/ovs-netdev-dpdk.c

# DPDK's inline functions need the instructions that it was built for.
datapath-offload/ovs-netdev-dpdk.$(OBJEXT): AM_CFLAGS += $(DPDK_CFLAGS)
endif
