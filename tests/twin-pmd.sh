#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The twin test with several PMD threads; see twin.sh.

TWIN_PMD=yes; export TWIN_PMD
exec "${srcdir-.}/tests/twin.sh"
