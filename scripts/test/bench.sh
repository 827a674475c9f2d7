#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# scripts/bench/table.py reads what the machines of the bench leave as it says.

exec python3 "$(dirname "$0")/../bench/test_table.py"
