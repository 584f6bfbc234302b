# SPDX-License-Identifier: Apache-2.0

EXTRA_DIST += \
	doc/developer-guide.md \
	doc/failover.md \
	doc/reference.md \
	doc/semantics.md
