# SPDX-License-Identifier: Apache-2.0

# What needs nothing but OVS's library, so that tests can have it alone.
noinst_LTLIBRARIES += ofproto-ext/libvport-bond.la
ofproto_ext_libvport_bond_la_SOURCES = \
	ofproto-ext/vport-bond-binding.c \
	ofproto-ext/vport-bond-binding.h \
	ofproto-ext/vport-bond-dp.c \
	ofproto-ext/vport-bond-dp.h \
	ofproto-ext/vport-bond-dpif.c \
	ofproto-ext/vport-bond-ids.c \
	ofproto-ext/vport-bond-ids.h \
	ofproto-ext/vport-bond-macs.c \
	ofproto-ext/vport-bond-macs.h \
	ofproto-ext/vport-bond-state.c \
	ofproto-ext/vport-bond-state.h \
	ofproto-ext/vport-bond-status.c \
	ofproto-ext/vport-bond-status.h \
	ofproto-ext/vport-bond-update.c \
	ofproto-ext/vport-bond-update.h \
	ofproto-ext/vport-bond-watched.c \
	ofproto-ext/vport-bond-watched.h \
	ofproto-ext/vport-bond-watcher.c \
	ofproto-ext/vport-bond-watcher.h \
	ofproto-ext/vport-bond.c \
	ofproto-ext/vport-bond.h

# OVS's units with hooks.
HOOK_SOURCES += \
	ofproto-ext/ovs-bond.c \
	ofproto-ext/ovs-bridge.c \
	ofproto-ext/ovs-ofproto-dpif-xlate.c

# ovs-vswitchd: OVS's objects and archives, preceded by the hooks, so that the
# linker never looks for the archive members that they replace.
sbin_PROGRAMS += vswitchd/ovs-vswitchd
vswitchd_ovs_vswitchd_SOURCES = \
	$(HOOK_SOURCES) \
	ofproto-ext/vport-bond-commands.c \
	ofproto-ext/vport-bond-config.c \
	ofproto-ext/vport-bond-config.h \
	ofproto-ext/vport-bond-hooks.h
vswitchd_ovs_vswitchd_LDADD = \
	$(ovs_builddir)/vswitchd/ovs-vswitchd.o \
	$(ovs_builddir)/vswitchd/system-stats.o \
	datapath-offload/libdatapath-offload.la \
	ofproto-ext/libvport-bond.la \
	lib/libnic.la \
	$(ovs_builddir)/ofproto/libofproto.la \
	$(ovs_builddir)/lib/libsflow.la \
	$(ovs_builddir)/lib/libopenvswitch.la \
	$(OVS_LIBS) $(LIBMNL_LIBS) $(LIBNL_LIBS) $(LIBNL_ROUTE_LIBS)
vswitchd_ovs_vswitchd_LDFLAGS = $(AM_LDFLAGS) $(OVS_VSWITCHD_LDFLAGS) \
	-Wl,-Map,vswitchd/ovs-vswitchd.map
EXTRA_vswitchd_ovs_vswitchd_DEPENDENCIES = vswitchd/hook-symbols.stamp

HOOK_OBJECTS = $(HOOK_SOURCES:.c=.$(OBJEXT))
CHECK_HOOKS = NM='$(NM)' $(SHELL) $(top_srcdir)/build-aux/check-hooks
check_hooks_quiet = $(AM_V_GEN)

# OVS's code is compiled in its own repository with these warnings off or on as
# OVS likes; here only what our hooks do around it matters.
$(HOOK_OBJECTS): AM_CFLAGS += -Wno-unused-parameter -Wno-unused-function

vswitchd/hook-symbols.stamp: $(HOOK_OBJECTS) build-aux/check-hooks
	@$(MKDIR_P) vswitchd
	$(AM_V_GEN)$(CHECK_HOOKS) symbols $(ovs_builddir) $(HOOK_OBJECTS)
	@touch $@

vswitchd/hook-map.stamp: vswitchd/ovs-vswitchd$(EXEEXT)
	$(AM_V_GEN)$(CHECK_HOOKS) map vswitchd/ovs-vswitchd.map \
		$(ovs_builddir) $(HOOK_OBJECTS)
	@touch $@

noinst_DATA = vswitchd/hook-map.stamp
CLEANFILES += \
	vswitchd/hook-map.stamp \
	vswitchd/hook-symbols.stamp \
	vswitchd/ovs-vswitchd.map
