/* SPDX-License-Identifier: GPL-2.0 */
/* What bindgen reads for the module: only what the kernel crate does not wrap. */
#include <linux/cpu.h>
#include <linux/of.h>
#include <linux/notifier.h>
#include <linux/panic_notifier.h>
#include <mvirt.h>
#include "glue.h"
