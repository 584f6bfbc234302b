# SPDX-License-Identifier: Apache-2.0

EXTRA_DIST += \
	utilities/demo \
	utilities/demo-failover \
	utilities/demo-report.py \
	utilities/guest \
	utilities/quickstart \
	utilities/tc-bench \
	utilities/tc-testbed
