// SPDX-License-Identifier: GPL-2.0
/* What runs a VM: a thread for each vCPU, the report device, and a watch on how long it takes. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "vmm.h"

static void kicked(int signal)
{
	/* It has done its work by coming: KVM_RUN gave EINTR. */
}

void vm_stop(struct vm *vm)
{
	int i;

	pthread_mutex_lock(&vm->lock);
	vm->stop = true;
	/* Whoever is before KVM_RUN gets EINTR from it, whoever is in it gets the signal. */
	for (i = 0; i < vm->nr_vcpus; i++) {
		__atomic_store_n(&vm->vcpus[i].run->immediate_exit, 1, __ATOMIC_SEQ_CST);
		if (vm->vcpus[i].threaded && !vm->vcpus[i].finished)
			pthread_kill(vm->vcpus[i].thread, KICK_SIGNAL);
	}
	pthread_cond_broadcast(&vm->changed);
	pthread_mutex_unlock(&vm->lock);
}

__attribute__((format(printf, 2, 3)))
static void broken(struct vm *vm, const char *format, ...)
{
	va_list args;

	pthread_mutex_lock(&vm->lock);
	if (!vm->broken[0]) {
		va_start(args, format);
		vsnprintf(vm->broken, sizeof(vm->broken), format, args);
		va_end(args);
	}
	pthread_mutex_unlock(&vm->lock);
}

/* All of the FP and SIMD state of this thread. */
static void spoil_fp(void)
{
	asm volatile(
		"movi v0.16b, #0xa5\n\t"
		".irp n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31\n\t"
		"mov v\\n\\().16b, v0.16b\n\t"
		".endr\n\t"
		"msr fpcr, xzr\n\t"
		"msr fpsr, xzr"
		: : : "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12",
		"v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24",
		"v25", "v26", "v27", "v28", "v29", "v30", "v31");
}

static uint64_t migrate(void)
{
	int nr = sysconf(_SC_NPROCESSORS_ONLN), to = (sched_getcpu() + 1) % nr;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(to, &set);
	return sched_setaffinity(0, sizeof(set), &set) ? -errno : to;
}

static uint64_t flags(struct vm *vm)
{
	uint64_t flags = vm->protected ? GUEST_FLAG_PROTECTED : 0;
	struct utsname name;

	if (device_is_mvirt())
		flags |= GUEST_FLAG_MVIRT | GUEST_FLAG_SIGN_EXTENDS;
	else if (!uname(&name) && atoi(name.release) >= 7)
		flags |= GUEST_FLAG_SIGN_EXTENDS;
	return flags;
}

static uint64_t answer(struct vcpu *vcpu, uint64_t number, uint64_t arg)
{
	struct vm *vm = vcpu->vm;

	switch (number) {
	case REQUEST_IRQ_LINE:
		return vm_irq_line(vm, arg, arg >> 32);
	case REQUEST_SLEEP:
		return usleep(arg) ? -errno : 0;
	case REQUEST_SPOIL_FP:
		spoil_fp();
		return 0;
	case REQUEST_FLAGS:
		return flags(vm);
	case REQUEST_MIGRATE:
		return migrate();
	}
	if (number >= REQUEST_OWN && vm->request)
		return vm->request(vcpu, number, arg);
	broken(vm, "vCPU %d makes request %#llx", vcpu->index, (unsigned long long)number);
	return -ENOSYS;
}

static void add_text(struct failure *report, uint64_t word)
{
	size_t used = strlen(report->text);
	int i;

	for (i = 0; i < 8 && used + 1 < sizeof(report->text); i++, word >>= 8)
		report->text[used++] = word & 0xff;
	report->text[used] = '\0';
}

/* A write to the report device; false if the guest is done. */
static bool device_write(struct vcpu *vcpu, uint64_t offset, uint64_t value)
{
	struct vm *vm = vcpu->vm;

	switch (offset) {
	case DEVICE_GOT:
		vcpu->report.got = value;
		return true;
	case DEVICE_WANT:
		vcpu->report.want = value;
		return true;
	case DEVICE_TEXT:
		add_text(&vcpu->report, value);
		return true;
	case DEVICE_FAIL:
		vcpu->report.vcpu = vcpu->index;
		vcpu->report.line = value;
		pthread_mutex_lock(&vm->lock);
		if (vm->nr_failures < MAX_FAILURES)
			vm->failures[vm->nr_failures] = vcpu->report;
		vm->nr_failures++;
		pthread_mutex_unlock(&vm->lock);
		memset(&vcpu->report, 0, sizeof(vcpu->report));
		return true;
	case DEVICE_DONE:
		pthread_mutex_lock(&vm->lock);
		vm->done = true;
		vm->checks = value;
		pthread_mutex_unlock(&vm->lock);
		return false;
	case DEVICE_ARG:
		vcpu->arg = value;
		return true;
	case DEVICE_REQUEST:
		vcpu->answer = answer(vcpu, value, vcpu->arg);
		return true;
	}
	broken(vm, "write of %#llx at %#llx of the report device", (unsigned long long)value,
	       (unsigned long long)offset);
	return false;
}

static bool handle_mmio(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint64_t ipa = run->mmio.phys_addr, value = 0;

	if (ipa - GUEST_DEVICE_BASE < GUEST_DEVICE_SIZE && run->mmio.len == 8) {
		if (run->mmio.is_write) {
			memcpy(&value, run->mmio.data, sizeof(value));
			return device_write(vcpu, ipa - GUEST_DEVICE_BASE, value);
		}
		if (ipa - GUEST_DEVICE_BASE == DEVICE_ANSWER) {
			memcpy(run->mmio.data, &vcpu->answer, sizeof(vcpu->answer));
			return true;
		}
	} else if (vcpu->vm->mmio &&
		   vcpu->vm->mmio(vcpu, ipa, run->mmio.data, run->mmio.len, run->mmio.is_write)) {
		return true;
	}
	broken(vcpu->vm, "stray MMIO %s of %u bytes at %#llx", run->mmio.is_write ? "write" : "read",
	       run->mmio.len, (unsigned long long)ipa);
	return false;
}

bool vcpu_handle_exit(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	struct vm *vm = vcpu->vm;

	vcpu->exits++;
	switch (run->exit_reason) {
	case KVM_EXIT_MMIO:
		return handle_mmio(vcpu);
	case KVM_EXIT_SYSTEM_EVENT:
		pthread_mutex_lock(&vm->lock);
		vm->event = true;
		vm->event_type = run->system_event.type;
		vm->event_flags = run->system_event.data[0];
		pthread_mutex_unlock(&vm->lock);
		return false;
	case KVM_EXIT_FAIL_ENTRY:
		broken(vm, "FAIL_ENTRY, reason %#llx",
		       (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
		return false;
	case KVM_EXIT_INTERNAL_ERROR:
		broken(vm, "INTERNAL_ERROR, suberror %u", run->internal.suberror);
		return false;
	default:
		broken(vm, "exit reason %u", run->exit_reason);
		return false;
	}
}

int vcpu_run_once(struct vcpu *vcpu)
{
	return ioctl(vcpu->fd, KVM_RUN, 0) ? -errno : 0;
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *vcpu = arg;
	struct vm *vm = vcpu->vm;
	int error;

	for (;;) {
		error = vcpu_run_once(vcpu);
		if (__atomic_load_n(&vm->stop, __ATOMIC_SEQ_CST))
			break;
		if (error == -EINTR || error == -EAGAIN) {
			vcpu->interrupted += error == -EINTR;
			continue;
		}
		if (error) {
			vcpu->error = error;
			broken(vm, "KVM_RUN of vCPU %d: %s, exit reason %u", vcpu->index,
			       strerror(-error), vcpu->run->exit_reason);
			break;
		}
		if (!vcpu_handle_exit(vcpu))
			break;
	}
	pthread_mutex_lock(&vm->lock);
	vm->stop = true;
	vcpu->finished = true;
	pthread_cond_broadcast(&vm->changed);
	pthread_mutex_unlock(&vm->lock);
	return NULL;
}

/* Where the vCPUs of a guest that does not end are; a protected guest's registers are its own. */
static void where(struct vm *vm, unsigned int seconds)
{
	uint64_t pc;
	size_t used;
	int i;

	broken(vm, "not done after %u s", seconds);
	for (i = 0; i < vm->nr_vcpus; i++) {
		if (vcpu_get_reg(&vm->vcpus[i], CORE_REG(regs.pc), &pc))
			continue;
		used = strlen(vm->broken);
		snprintf(vm->broken + used, sizeof(vm->broken) - used, ", vCPU %d at %#llx", i,
			 (unsigned long long)pc);
	}
}

void vm_run(struct vm *vm, unsigned int seconds)
{
	struct sigaction action = { .sa_handler = kicked };
	struct timespec end;
	bool late = false;
	int i;

	sigaction(KICK_SIGNAL, &action, NULL);
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += seconds;
	pthread_mutex_lock(&vm->lock);
	for (i = 0; i < vm->nr_vcpus; i++) {
		if (pthread_create(&vm->vcpus[i].thread, NULL, vcpu_thread, &vm->vcpus[i])) {
			snprintf(vm->broken, sizeof(vm->broken), "no thread for vCPU %d", i);
			vm->stop = true;
			break;
		}
		vm->vcpus[i].threaded = true;
	}
	while (!vm->stop && !late)
		late = pthread_cond_timedwait(&vm->changed, &vm->lock, &end) == ETIMEDOUT;
	pthread_mutex_unlock(&vm->lock);
	vm_stop(vm);
	for (i = 0; i < vm->nr_vcpus; i++) {
		if (vm->vcpus[i].threaded)
			pthread_join(vm->vcpus[i].thread, NULL);
		vm->vcpus[i].threaded = false;
	}
	if (late && !vm->done && !vm->event)
		where(vm, seconds);
}
