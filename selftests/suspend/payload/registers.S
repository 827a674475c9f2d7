/* SPDX-License-Identifier: GPL-2.0 */
#include "../../traps/payload/registers.S"
