# SPDX-License-Identifier: Apache-2.0

# Unit tests, one program each: 'tests/NAME.c' alone, unless it has sources or
# libraries of its own below.
UNIT_TESTS = \
	tests/test-carrier \
	tests/test-ct-conn \
	tests/test-egress-view \
	tests/test-engine-cases \
	tests/test-engine-thread \
	tests/test-engine \
	tests/test-flower \
	tests/test-hw-tc \
	tests/test-nic-emu-model \
	tests/test-nic-emu-pass \
	tests/test-nic-emu-pipeline \
	tests/test-nic-emu-store \
	tests/test-nic-emu-table \
	tests/test-nic-emu-window \
	tests/test-nic-emu \
	tests/test-nic-rule \
	tests/test-nic-tc-prio \
	tests/test-offload-nic \
	tests/test-path \
	tests/test-path-random \
	tests/test-tc-socket \
	tests/test-timer-wheel \
	tests/test-vport-bond \
	tests/test-vport-bond-watcher

if WITH_DPDK
UNIT_TESTS += tests/test-nic-rte-flow tests/test-rte-flow-codec
endif

check_PROGRAMS += $(UNIT_TESTS)
TESTS += $(UNIT_TESTS)
LDADD = \
	datapath-offload/libdatapath-offload.la \
	ofproto-ext/libvport-bond.la \
	lib/libnic.la \
	$(ovs_builddir)/lib/libopenvswitch.la \
	$(OVS_LIBS) $(CHECK_LIBS) \
	$(LIBMNL_LIBS) $(LIBNL_LIBS) $(LIBNL_ROUTE_LIBS)

# For the tests in a guest.
check_PROGRAMS += tests/tc-driver tests/tc-filters

# Traffic for tests of failover; uses nothing of the project or of OVS.
check_PROGRAMS += tests/failover-stream
tests_failover_stream_LDADD =

# What tests/fake-rte-flow.c takes the place of.
FAKE_RTE_FLOW_WRAPS = \
	-Wl,--wrap=if_notifier_manual_report \
	-Wl,--wrap=netdev_close \
	-Wl,--wrap=netdev_dpdk_get_port_id \
	-Wl,--wrap=netdev_from_name \
	-Wl,--wrap=netdev_get_type \
	-Wl,--wrap=rte_eth_dev_callback_register \
	-Wl,--wrap=rte_eth_dev_callback_unregister \
	-Wl,--wrap=rte_eth_dev_info_get \
	-Wl,--wrap=rte_eth_link_get_nowait \
	-Wl,--wrap=rte_flow_action_handle_create \
	-Wl,--wrap=rte_flow_action_handle_destroy \
	-Wl,--wrap=rte_flow_action_handle_query \
	-Wl,--wrap=rte_flow_create \
	-Wl,--wrap=rte_flow_destroy \
	-Wl,--wrap=rte_flow_flush \
	-Wl,--wrap=rte_flow_pick_transfer_proxy \
	-Wl,--wrap=rte_flow_query \
	-Wl,--wrap=rte_flow_validate
tests_test_nic_rte_flow_SOURCES = \
	tests/fake-rte-flow.c \
	tests/fake-rte-flow.h \
	tests/test-nic-rte-flow.c
tests_test_nic_rte_flow_LDFLAGS = $(AM_LDFLAGS) $(FAKE_RTE_FLOW_WRAPS)

# Programs that need the hooked conntrack as well.
tests_test_ct_conn_SOURCES = \
	tests/test-ct-conn.c \
	$(CT_HOOK_SOURCES)
tests_test_engine_cases_SOURCES = \
	tests/test-engine-cases.c \
	$(CT_HOOK_SOURCES)
tests_test_engine_thread_SOURCES = \
	tests/test-engine-thread.c \
	$(CT_HOOK_SOURCES)
tests_test_engine_SOURCES = \
	tests/test-engine.c \
	$(CT_HOOK_SOURCES)

# The emulated NIC as a device of DPDK: 'make check-dpdk'.  These programs are
# applications of DPDK and have nothing of ours in them.
DPDK_TESTS =
EXTRA_DIST += \
	tests/net-emu-symbols.sh \
	tests/net-emu-test.h \
	tests/net-emu-testpmd.py
if NET_EMU
NET_EMU_TESTS = \
	tests/test-net-emu \
	tests/test-net-emu-async \
	tests/test-net-emu-ct
DPDK_TESTS += \
	$(NET_EMU_TESTS) \
	tests/net-emu-symbols.sh \
	tests/net-emu-testpmd.py
check_PROGRAMS += $(NET_EMU_TESTS)
endif
tests_test_net_emu_async_CPPFLAGS = $(NET_EMU_CPPFLAGS)
tests_test_net_emu_async_CFLAGS = $(NET_EMU_TEST_CFLAGS)
tests_test_net_emu_async_LDADD = $(NET_EMU_DPDK_LIBS) $(CHECK_LIBS)
tests_test_net_emu_ct_CPPFLAGS = $(NET_EMU_CPPFLAGS)
tests_test_net_emu_ct_CFLAGS = $(NET_EMU_TEST_CFLAGS)
tests_test_net_emu_ct_LDADD = $(NET_EMU_DPDK_LIBS) $(CHECK_LIBS)
tests_test_net_emu_CPPFLAGS = $(NET_EMU_CPPFLAGS)
tests_test_net_emu_CFLAGS = $(NET_EMU_TEST_CFLAGS)
tests_test_net_emu_LDADD = $(NET_EMU_DPDK_LIBS) $(CHECK_LIBS)
NET_EMU_CPPFLAGS = -DALLOW_EXPERIMENTAL_API -I $(top_srcdir)/tests
NET_EMU_TEST_CFLAGS = -pthread $(WARNING_FLAGS) $(SANITIZER_FLAGS) \
	$(NET_EMU_DPDK_CFLAGS) $(CHECK_CFLAGS)

check-dpdk-unit: $(noinst_PROGRAMS) $(NET_EMU_TESTS)
	@if test -z '$(DPDK_TESTS)'; then \
	    echo "make check-dpdk: needs configure --with-dpdk-source" >&2; \
	    exit 1; fi
	@$(TESTS_ENVIRONMENT) failed=; for test in $(DPDK_TESTS); do \
	    test -x $$test || test=$(srcdir)/$$test; \
	    if $(LOG_COMPILER) $(AM_LOG_FLAGS) $$test; then \
	        echo "PASS: $$test"; \
	    else \
	        echo "FAIL: $$test"; failed=yes; \
	    fi; \
	done; test -z "$$failed"

# The check of the hooks must fail when a hook does.
TESTS += tests/check-hooks.sh
EXTRA_DIST += \
	tests/check-hooks.sh \
	tests/engine-invariants.h \
	tests/engine-test.h \
	tests/flower-test.h \
	tests/mutants.list \
	tests/mutants.py \
	tests/nic-emu-table-test.h \
	tests/nic-emu-test.h \
	tests/nic-test.h \
	tests/path-test.h \
	tests/rnd.h \
	tests/tsan.supp \
	tests/ubsan.supp \
	tests/unit-test.h

# The twin test.  'make check-long' runs it for an hour, and for a quarter of
# an hour with PMD threads.
TESTS += tests/check-semantics.py tests/twin.sh tests/twin-pmd.sh
EXTRA_DIST += \
	tests/check-semantics.py \
	tests/many-conns.py \
	tests/twin.sh \
	tests/twin-pmd.sh \
	tests/twin/chains.py \
	tests/twin/compare.py \
	tests/twin/features.py \
	tests/twin/features_packets.py \
	tests/twin/fixed.py \
	tests/twin/mixed.py \
	tests/twin/packets.py \
	tests/twin/pmd.py \
	tests/twin/rows.py \
	tests/twin/runner.py \
	tests/twin/scenario.py \
	tests/twin/shrink.py \
	tests/twin/twin.py \
	tests/twin/vswitchd.py

# Check enforces its own time limits only where it forks.  The twin test takes
# about eight minutes where nothing else runs.
LOG_COMPILER = timeout
AM_LOG_FLAGS = --kill-after=10 2700
TESTS_ENVIRONMENT = \
	ovs_builddir='$(ovs_builddir)'; export ovs_builddir; \
	ovs_srcdir='$(ovs_srcdir)'; export ovs_srcdir; \
	srcdir='$(srcdir)'; export srcdir; \
	LD_LIBRARY_PATH=$(abs_top_builddir)/lib$${LD_LIBRARY_PATH:+:}$$LD_LIBRARY_PATH; \
	export LD_LIBRARY_PATH; \
	abs_top_builddir='$(abs_top_builddir)'; export abs_top_builddir; \
	NM='$(NM)'; export NM; \
	CC='$(CC)'; export CC; \
	CK_DEFAULT_TIMEOUT=$${CK_DEFAULT_TIMEOUT-120}; \
	export CK_DEFAULT_TIMEOUT; \
	if test $(handoff_sanitizers) = thread; then \
	    CT_SEEDS=$${CT_SEEDS-20}; \
	    CT_CLOSE_SEEDS=$${CT_CLOSE_SEEDS-300}; export CT_CLOSE_SEEDS; \
	    CT_PACKETS=$${CT_PACKETS-10000}; export CT_PACKETS; \
	    ENGINE_SEEDS=$${ENGINE_SEEDS-5}; export ENGINE_SEEDS; \
	fi; \
	if test $(handoff_sanitizers) != none; then \
	    CK_FORK=no; export CK_FORK; \
	    CT_SEEDS=$${CT_SEEDS-200}; export CT_SEEDS; \
	    ENGINE_SEEDS=$${ENGINE_SEEDS-20}; export ENGINE_SEEDS; \
	    TWIN_CASES=$${TWIN_CASES-1500}; export TWIN_CASES; \
	    TWIN_PMD_COUNT=$${TWIN_PMD_COUNT-12}; export TWIN_PMD_COUNT; \
	fi; \
	$(sanitizer_environment)
sanitizer_environment = \
	UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1; \
	UBSAN_OPTIONS=$$UBSAN_OPTIONS:suppressions=$(abs_top_srcdir)/tests/ubsan.supp; \
	export UBSAN_OPTIONS; \
	ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1; \
	export ASAN_OPTIONS; \
	TSAN_OPTIONS=suppressions=$(abs_top_srcdir)/tests/tsan.supp; \
	TSAN_OPTIONS=$$TSAN_OPTIONS:second_deadlock_stack=1:exitcode=66; \
	export TSAN_OPTIONS;

# Autotest.  The macros of OVS come from its source tree.
COMMON_AT = \
	tests/handoff-macros.at \
	tests/offload-macros.at
TESTSUITE_AT = \
	tests/testsuite.at \
	tests/offload-commands.at \
	tests/nic-emu.at \
	tests/offload-stats.at \
	tests/offload-refused.at \
	tests/offload-carried.at \
	tests/offload.at \
	tests/ovs-suites.at \
	tests/test-switch.at \
	tests/vswitchd.at \
	tests/vport-bond.at \
	tests/offload-bond.at
SYSTEM_TESTSUITE_AT = \
	tests/system-testsuite.at \
	tests/failover-macros.at \
	tests/system-offload-macros.at \
	tests/system-offload.at \
	tests/system-vport-bond.at \
	tests/system-macros.at \
	tests/system-vswitchd.at
TC_TESTSUITE_AT = \
	tests/tc-testsuite.at \
	tests/system-macros.at \
	tests/system-offload-macros.at \
	tests/tc-macros.at \
	tests/tc-filters.at \
	tests/tc-driver.at \
	tests/tc-offload.at
DPDK_TESTSUITE_AT = \
	tests/dpdk-testsuite.at \
	tests/system-macros.at \
	tests/system-offload-macros.at \
	tests/dpdk-macros.at \
	tests/failover-macros.at \
	tests/dpdk-offload.at \
	tests/dpdk-vport-bond.at
EXTRA_DIST += \
	tests/atlocal.in \
	tests/dpdk-telemetry.py \
	tests/tc-guest.sh \
	tests/tc-json.py \
	tests/failover.py \
	tests/transfer.py \
	tests/packet.py \
	$(COMMON_AT) \
	$(TESTSUITE_AT) \
	$(SYSTEM_TESTSUITE_AT) \
	$(TC_TESTSUITE_AT) \
	$(DPDK_TESTSUITE_AT)

AUTOTEST = $(AUTOM4TE) --language=autotest
AUTOTEST_INCLUDES = -I tests -I $(top_srcdir) -I $(ovs_srcdir)

tests/package.m4: Makefile
	@$(MKDIR_P) tests
	$(AM_V_GEN)( \
	    echo 'm4_define([AT_PACKAGE_NAME], [$(PACKAGE_NAME)])'; \
	    echo 'm4_define([AT_PACKAGE_TARNAME], [$(PACKAGE_TARNAME)])'; \
	    echo 'm4_define([AT_PACKAGE_VERSION], [$(PACKAGE_VERSION)])'; \
	    echo 'm4_define([AT_PACKAGE_STRING], [$(PACKAGE_STRING)])'; \
	    echo 'm4_define([AT_PACKAGE_BUGREPORT], [])'; \
	    echo 'm4_define([AT_PACKAGE_URL], [])') > $@

tests/testsuite: $(COMMON_AT) $(TESTSUITE_AT) tests/package.m4
	$(AM_V_GEN)$(AUTOTEST) $(AUTOTEST_INCLUDES) -o $@.tmp \
		$(top_srcdir)/tests/testsuite.at
	@mv $@.tmp $@

tests/system-testsuite: $(COMMON_AT) $(SYSTEM_TESTSUITE_AT) tests/package.m4
	$(AM_V_GEN)$(AUTOTEST) $(AUTOTEST_INCLUDES) -o $@.tmp \
		$(top_srcdir)/tests/system-testsuite.at
	@mv $@.tmp $@

tests/tc-testsuite: $(COMMON_AT) $(TC_TESTSUITE_AT) tests/package.m4
	$(AM_V_GEN)$(AUTOTEST) $(AUTOTEST_INCLUDES) -o $@.tmp \
		$(top_srcdir)/tests/tc-testsuite.at
	@mv $@.tmp $@

tests/dpdk-testsuite: $(COMMON_AT) $(DPDK_TESTSUITE_AT) tests/package.m4
	$(AM_V_GEN)$(AUTOTEST) $(AUTOTEST_INCLUDES) -o $@.tmp \
		$(top_srcdir)/tests/dpdk-testsuite.at
	@mv $@.tmp $@

CLEANFILES += \
	tests/dpdk-testsuite \
	tests/package.m4 \
	tests/system-testsuite \
	tests/tc-testsuite \
	tests/testsuite
DISTCLEANFILES += tests/atconfig

# Our ovs-vswitchd, and the other programs of the OVS that it was built from.
# OVS's vswitchd/ is not in the path: no test must take it for ours.
autotest_path = \
	$(abs_top_builddir)/vswitchd:$(ovs_builddir)/utilities:$(ovs_builddir)/ovsdb:$(abs_top_builddir)/tests
autotest_programs = all $(check_PROGRAMS) tests/atconfig tests/atlocal

# 'make check' runs the unit tests and the autotest suite,
# 'make check-system', as root, the suite with real interfaces and programs.
# TESTSUITEFLAGS goes to the suites: numbers, -k KEYWORD, -v, -d, -j N.
TESTSUITEFLAGS =
SYSTEM_TESTSUITEFLAGS =
TESTSUITE_JOBS = -j6
SYSTEM_TESTSUITE_JOBS = -j4

check-local: check-autotest

# The unit tests alone: they need no program of OVS.
check-unit: $(check_PROGRAMS)
	$(MAKE) $(AM_MAKEFLAGS) check-TESTS \
		TESTS='$(UNIT_TESTS) tests/check-hooks.sh'

check-autotest: tests/testsuite $(autotest_programs)
	$(SHELL) tests/testsuite -C tests AUTOTEST_PATH='$(autotest_path)' \
		$(TESTSUITE_JOBS) $(TESTSUITEFLAGS)

check-long: tests/testsuite $(autotest_programs)
	$(TESTS_ENVIRONMENT) TWIN_SECONDS=3600 $(srcdir)/tests/twin.sh
	$(TESTS_ENVIRONMENT) TWIN_PMD_SECONDS=900 $(srcdir)/tests/twin-pmd.sh
	$(SHELL) tests/testsuite -C tests AUTOTEST_PATH='$(autotest_path)' \
		HANDOFF_MANY_CONNS=100000 -d -k many-conns

# Builds once more, in mutants/, with the deliberate defects of mutants.list,
# and shows that the tests notice each of them.  In a tree with
# --enable-sanitizers=thread that is those of threads alone; elsewhere these
# are left out, unless TSAN_MUTANTS is the 'mutants' directory of such a tree.
# MUTANTFLAGS goes to tests/mutants.py: --only MUTANT, --seed N.
MUTANTFLAGS =
MUTANT_JOBS = -j2
TSAN_MUTANTS =
mutant_targets = \
	`test $(handoff_sanitizers) = thread \
	 && echo tests/test-engine-thread \
	 || echo tests/test-engine vswitchd/ovs-vswitchd`
mutant_builds = \
	`test $(handoff_sanitizers) = thread || echo --build mutants` \
	`test $(handoff_sanitizers) != thread || echo --tsan-build mutants` \
	$(TSAN_MUTANTS:%=--tsan-build %)

mutants/Makefile: $(top_srcdir)/configure config.status
	@$(MKDIR_P) mutants
	eval "set -- `./config.status --config`" && cd mutants && \
		$(abs_top_srcdir)/configure "$$@" --enable-mutants

mutants: mutants/Makefile
	cd mutants && $(MAKE) $(AM_MAKEFLAGS) $(MUTANT_JOBS) $(mutant_targets)

check-mutants: mutants
	$(TESTS_ENVIRONMENT) $(PYTHON3) $(srcdir)/tests/mutants.py \
		$(mutant_builds) $(MUTANTFLAGS)

check-system: tests/system-testsuite $(autotest_programs)
	@if test "`id -u`" != 0; then \
	    echo "make check-system: must be run as root" >&2; exit 1; fi
	$(SHELL) tests/system-testsuite -C tests \
		AUTOTEST_PATH='$(autotest_path)' \
		$(SYSTEM_TESTSUITE_JOBS) $(SYSTEM_TESTSUITEFLAGS) $(TESTSUITEFLAGS)

# Prints one table of what a cut link costs, for a bond with vports and for
# stock's bonds, with few and many connections and megaflows; with DPDK also
# where a PMD thread forwards.  The machine should do nothing else.
# FAILOVER_CUTS (5), FAILOVER_MEGAFLOWS (20000) and FAILOVER_MAX_CONNS in the
# environment make it shorter.
failover-report: tests/system-testsuite $(autotest_programs)
	rm -rf tests/failover-report.d && mkdir tests/failover-report.d
	$(MAKE) $(AM_MAKEFLAGS) check-system SYSTEM_TESTSUITE_JOBS=-j1 \
		SYSTEM_TESTSUITEFLAGS= TESTSUITEFLAGS='-k failover-report'; \
	status=$$?; \
	if test '$(handoff_dpdk)' != no; then \
	    $(MAKE) $(AM_MAKEFLAGS) check-dpdk-suite \
		SYSTEM_TESTSUITEFLAGS= TESTSUITEFLAGS='-k failover-report' \
	    || status=$$?; \
	fi; \
	$(PYTHON3) $(srcdir)/tests/failover.py table \
		tests/failover-report.d/*; \
	exit $$status

# In a guest with Debian's own kernel: the suite for the driver of tc-flower.
check-tc: all tests/tc-testsuite tests/tc-driver \
		tests/tc-filters tests/atconfig tests/atlocal
	$(top_srcdir)/utilities/guest --writable=tests --console=tests/tc-console \
		--timeout=1800 --cpus=2 \
		$(SHELL) $(abs_top_srcdir)/tests/tc-guest.sh \
		$(abs_top_builddir)/tests '$(autotest_path)' -j2 $(TESTSUITEFLAGS)

# What connections cost in software and carried by the kernel's tc: as root
# with this machine's kernel, or in the guest.
BENCHFLAGS =
bench_tc = env PATH='$(autotest_path)'":$$PATH" \
	$(abs_top_srcdir)/utilities/tc-bench \
	--schema=$(ovs_srcdir)/vswitchd/vswitch.ovsschema $(BENCHFLAGS)
bench-tc: all
	$(bench_tc)
bench-tc-guest: all
	$(top_srcdir)/utilities/guest --timeout=1800 $(bench_tc)

# Programs that use the emulated NIC as a device of DPDK; and as root the suite
# for the driver for DPDK ports, with that device.  One test of it at a time, as
# each takes a whole processor.
check-dpdk: check-dpdk-unit check-dpdk-suite
check-dpdk-suite: tests/dpdk-testsuite $(noinst_PROGRAMS) $(autotest_programs)
	@if test "`id -u`" != 0; then \
	    echo "make check-dpdk: must be run as root" >&2; exit 1; fi
	@if test -z '$(DPDK_TESTS)' || test '$(handoff_dpdk)' = no; then \
	    echo "make check-dpdk: needs configure --with-dpdk" \
	        "--with-dpdk-source=DIR" >&2; exit 1; fi
	$(SHELL) tests/dpdk-testsuite -C tests \
		AUTOTEST_PATH='$(autotest_path)' \
		$(SYSTEM_TESTSUITEFLAGS) $(TESTSUITEFLAGS)

# OVS's own suites, with OVS's ovs-vswitchd and with ours.  They need all of
# OVS to be built.  OVS_SUITES_FLAGS goes to tests/ovs-suites.py.
OVS_SUITES_FLAGS =
OVS_SUITES = $(top_srcdir)/tests/ovs-suites.py \
	--ovs-source '$(ovs_srcdir)' --ovs-build '$(ovs_builddir)' \
	--vswitchd vswitchd/ovs-vswitchd --dir tests/ovs-suites.dir
EXTRA_DIST += tests/ovs-suites-fake.sh tests/ovs-suites.py

check-ovs: all
	$(OVS_SUITES) --suite unit $(OVS_SUITES_FLAGS)

check-ovs-system: all
	$(OVS_SUITES) --suite system $(OVS_SUITES_FLAGS)

clean-local:
	rm -rf tests/testsuite.dir tests/testsuite.log \
		tests/system-testsuite.dir tests/system-testsuite.log \
		tests/tc-testsuite.dir tests/tc-testsuite.log tests/tc-console \
		tests/dpdk-testsuite.dir tests/dpdk-testsuite.log \
		tests/failover-report.d tests/ovs-suites.dir mutants
.PHONY: check-autotest check-dpdk check-dpdk-suite check-dpdk-unit check-long \
	check-mutants check-ovs check-ovs-system check-system check-tc check-unit \
	bench-tc bench-tc-guest failover-report mutants
