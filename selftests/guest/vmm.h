/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A small VMM for payloads, on /dev/mvirt or /dev/kvm: one VM, its memory, vCPUs with a thread each, a
 * GICv3, and the report device of protocol.h.
 *
 * All functions return 0 or -errno, and say in vm->what which call it was.
 */
#ifndef MVIRT_GUEST_VMM_H
#define MVIRT_GUEST_VMM_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/kvm.h>

#include "protocol.h"

/* What the kernel's headers of the build machine may be too old for. */
#ifndef KVM_SYSTEM_EVENT_SHUTDOWN_FLAG_PSCI_OFF2
#define KVM_SYSTEM_EVENT_SHUTDOWN_FLAG_PSCI_OFF2 (1ULL << 0)
#endif
#ifndef KVM_SYSTEM_EVENT_RESET_FLAG_PSCI_RESET2
#define KVM_SYSTEM_EVENT_RESET_FLAG_PSCI_RESET2 (1ULL << 0)
#endif
/* The type of KVM_CREATE_VM for a protected VM, as in mainline since 7.1. */
#define VM_TYPE_PROTECTED	(1UL << 31)

#define CORE_REG(name) (KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | \
			(offsetof(struct kvm_regs, name) / 4))
#define SYS_REG(op0, op1, crn, crm, op2) ARM64_SYS_REG(op0, op1, crn, crm, op2)
#define MPIDR_REG		SYS_REG(3, 0, 0, 0, 5)

/* Signal that takes a vCPU's thread out of KVM_RUN. */
#define KICK_SIGNAL		SIGUSR1
#define MAX_FAILURES		8
#define TEXT_SIZE		256

enum backing {
	BACKING_ANONYMOUS,	/* pages of the base size */
	BACKING_THP,		/* huge pages, as far as there are any */
	BACKING_MEMFD,
};

struct slot {
	uint64_t ipa;
	uint64_t size;
	uint8_t *host;
};

/* A check of the payload that failed. */
struct failure {
	int vcpu;
	unsigned int line;
	uint64_t got;
	uint64_t want;
	char text[TEXT_SIZE];
};

struct vm;

struct vcpu {
	struct vm *vm;
	int index;
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	bool threaded;
	bool finished;
	/* The registers of its report device. */
	struct failure report;
	uint64_t arg;
	uint64_t answer;
	/* Why its thread ended: 0, or -errno of KVM_RUN. */
	int error;
	uint64_t exits;
	/* How often KVM_RUN was interrupted: by a signal, or because the host went to sleep. */
	uint64_t interrupted;
};

struct vm {
	const char *device;
	const char *what;
	bool protected;
	int dev, fd, gic;
	size_t run_size;
	int nr_vcpus;
	struct vcpu vcpus[GUEST_MAX_CPUS];
	struct slot slots[8];
	int nr_slots;

	/* What a test adds: an answer to a request, and an MMIO access that is not the report device's. */
	uint64_t (*request)(struct vcpu *vcpu, uint64_t number, uint64_t arg);
	bool (*mmio)(struct vcpu *vcpu, uint64_t ipa, uint8_t *data, unsigned int len, bool is_write);

	/* What the run gave; under the lock. */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct failure failures[MAX_FAILURES];
	int nr_failures;
	bool stop;
	bool done;
	uint64_t checks;
	/* A SYSTEM_EVENT that ended it. */
	bool event;
	uint32_t event_type;
	uint64_t event_flags;
	/* Something no payload asked for; the text says what. */
	char broken[TEXT_SIZE];
};

/* The payload of this program, as it goes to GUEST_RAM_BASE. */
extern const char payload_image[], payload_image_end[];

/* The device under test: $device, else /dev/mvirt. */
const char *guest_device(void);
bool device_is_mvirt(void);
/* Whether KVM is there as pKVM, which leaves some of KVM's checks to its EL2 part. */
bool host_is_pkvm(void);
/* Whether guests are to be protected: $guests is "protected". */
bool guests_protected(void);

/* A VM on that device with nothing in it. @ipa_bits 0 is the default. */
int vm_create(struct vm *vm, bool protected, unsigned int ipa_bits);
void vm_destroy(struct vm *vm);

/* Host memory of a backing; NULL if there is none. */
uint8_t *memory_alloc(enum backing backing, uint64_t size);
/* A slot on it; the VM owns the memory from then on. */
int vm_add_slot(struct vm *vm, uint64_t ipa, uint64_t size, enum backing backing, uint32_t flags);
int vm_set_slot(struct vm *vm, uint32_t slot, uint64_t ipa, uint64_t size, void *host, uint32_t flags);
/* The host's address of a guest's. */
void *vm_host(struct vm *vm, uint64_t ipa);

/* A GICv3 that is not initialized, then its addresses and the rest, once the vCPUs are there. */
int vm_create_gic(struct vm *vm);
int vm_init_gic(struct vm *vm);
int vm_irq_line(struct vm *vm, uint32_t irq, bool level);

/* KVM_CREATE_VCPU and the mapping of its kvm_run; not initialized. */
int vcpu_create(struct vm *vm, int index);
int vcpu_init(struct vcpu *vcpu, bool powered_off);
int vcpu_set_reg(struct vcpu *vcpu, uint64_t id, uint64_t value);
int vcpu_get_reg(struct vcpu *vcpu, uint64_t id, uint64_t *value);

/* The whole: memory (if none is at GUEST_RAM_BASE) with the payload in it, GIC, vCPUs; the first will start with x0 = @word. */
int vm_build(struct vm *vm, int nr_vcpus, uint64_t ram, enum backing backing, uint64_t word);
/* Runs all vCPUs until the guest is done or @seconds have passed; then vm->broken says so. */
void vm_run(struct vm *vm, unsigned int seconds);
/* Takes all vCPUs out of KVM_RUN for good. */
void vm_stop(struct vm *vm);
/* One KVM_RUN: 0 or -errno. */
int vcpu_run_once(struct vcpu *vcpu);
/* Handles the exit that kvm_run tells of; false if the vCPU is not to run on. */
bool vcpu_handle_exit(struct vcpu *vcpu);

#endif /* MVIRT_GUEST_VMM_H */
