/* SPDX-License-Identifier: GPL-2.0 */
/* For programs whose payload needs a VM with memory, vCPUs and a GIC, and no more. */
#ifndef MVIRT_GUEST_FIXTURE_H
#define MVIRT_GUEST_FIXTURE_H

#include "guest.h"

/* The tests of a payload that need nothing of the VMM but the VM of the fixture "guest". */
#define GUEST_TEST(name, cpus, flags)						\
	TEST_F(guest, name) {							\
		guest_run(_metadata, &self->vm, TEST_##name, cpus, flags, BACKING_ANONYMOUS);	\
	}

FIXTURE(guest)
{
	struct vm vm;
};

FIXTURE_SETUP(guest)
{
	MAKE_VM(&self->vm);
}

FIXTURE_TEARDOWN(guest)
{
	vm_destroy(&self->vm);
}

#endif /* MVIRT_GUEST_FIXTURE_H */
