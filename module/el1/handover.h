/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The way in and the way out: /dev/mvirt, and the kernel's announcements that
 * another kernel or an old image of this one gets the machine. No policy.
 *
 * The mvirt_rs_* functions are Rust's and called from glue_handover.c.
 */
#ifndef _MVIRT_HANDOVER_H
#define _MVIRT_HANDOVER_H

#include <linux/types.h>

/*
 * The device. The kernel crate's own has no owner in 6.18: what opens or closes a
 * file of it would run without a reference to this module.
 */
int mvirt_device_add(void);
void mvirt_device_remove(void);
int mvirt_rs_device_open(void);
long mvirt_rs_device_ioctl(unsigned int cmd, unsigned long arg);

/*
 * To be called when loading fails after the device was there: the kernel frees a
 * module that does not load without a look at who has a reference to it. The
 * device is gone, so that there are only fewer of them.
 */
void mvirt_wait_for_openers(void);

/* From add to remove the functions below are called; all may sleep. */
int mvirt_handover_add(void);
void mvirt_handover_remove(void);
/* May a hibernation image be made, or be put in this kernel's place? 0 or -errno. */
int mvirt_rs_hibernate(void);
int mvirt_rs_restore(void);
/* kexec is on its way; devices and CPUs work yet. */
void mvirt_rs_kexec(void);
/* Devices are shut down, for a restart, power-off or kexec. */
void mvirt_rs_shutdown(void);

/* Restarts the machine, once its consoles had time to print; sleeps. */
void mvirt_restart(void);

#endif
