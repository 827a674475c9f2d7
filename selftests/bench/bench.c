// SPDX-License-Identifier: GPL-2.0
/*
 * The VMM of the bench: one vCPU, one thread, and as little as can be between two KVM_RUNs. Says for
 * each operation whether it ran; what it cost the plugin of scripts/bench/ counts from outside.
 *
 *	bench normal|protected
 *
 * Its output is "bench: OPERATION done", or "bench: absent: REASON" if there is no such VM here.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "tests.h"
#include "vmm.h"

#define RAM_SIZE	(2UL << 20)

#define NAME(name, cpus, flags)	#name,
static const char *const names[] = { BENCH_OPERATIONS(NAME) };

/* Answers the reads of the hole by what lies in kvm_run; all else as any VMM. */
static int run(struct vcpu *vcpu)
{
	struct kvm_run *kvm_run = vcpu->run;
	int fd = vcpu->fd;

	for (;;) {
		if (ioctl(fd, KVM_RUN, 0))
			return -errno;
		if (kvm_run->exit_reason == KVM_EXIT_MMIO && kvm_run->mmio.phys_addr == GUEST_HOLE_BASE)
			continue;
		if (!vcpu_handle_exit(vcpu))
			return 0;
	}
}

static int measure(int operation, bool protected)
{
	struct vm vm;
	int error;

	error = vm_create(&vm, protected, 0);
	if (error) {
		printf("bench: absent: %s on %s: %s\n", vm.what, vm.device, strerror(-error));
		return error;
	}
	/* Present in the VMM: the fault that is measured is the guest's own. */
	error = vm_add_slot(&vm, FAULT_BASE, FAULT_SIZE, BACKING_ANONYMOUS, 0);
	if (!error)
		memset(vm_host(&vm, FAULT_BASE), 0x5a, FAULT_SIZE);
	if (!error)
		error = vm_build(&vm, 1, RAM_SIZE, BACKING_ANONYMOUS, operation);
	if (error) {
		printf("bench: absent: %s on %s: %s\n", vm.what, vm.device, strerror(-error));
		vm_destroy(&vm);
		return error;
	}
	error = run(&vm.vcpus[0]);
	if (error || !vm.done || vm.nr_failures || vm.broken[0]) {
		printf("bench: failed: %s: %s, %s, %s\n", names[operation], strerror(-error), vm.broken,
		       vm.nr_failures ? vm.failures[0].text : "no check failed");
		error = -EIO;
	} else {
		printf("bench: %s done\n", names[operation]);
	}
	fflush(stdout);
	vm_destroy(&vm);
	return error;
}

int main(int argc, char **argv)
{
	bool protected = argc > 1 && !strcmp(argv[1], "protected");
	size_t i;

	/* Operations come one after another, each in a VM of its own. */
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (measure(i, protected))
			return 1;
	}
	return 0;
}
