// SPDX-License-Identifier: GPL-2.0
/* A BPF program that reads and writes where it is told, run once. Its result is the first of an array. */
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "stray.h"

/* uapi/linux/bpf.h: ids of helper functions. */
#define PROBE_WRITE_USER	36
#define PROBE_READ_USER		112
#define PROBE_READ_KERNEL	113

#define BYTES	64

static int bpf(int cmd, union bpf_attr *attr, size_t size)
{
	return syscall(SYS_bpf, cmd, attr, size);
}

#define INSN(c, d, s, o, i)	((struct bpf_insn){ .code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) })
#define MOVE(d, s)		INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define SET(d, i)		INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define LONG(d, s, v)		INSN(BPF_LD | BPF_DW | BPF_IMM, d, s, 0, (uint32_t)(v)), INSN(0, 0, 0, 0, (v) >> 32)
#define CALL(f)			INSN(BPF_JMP | BPF_CALL, 0, 0, 0, f)

static int load(struct stray *s, const struct bpf_insn *insns, size_t n)
{
	static char log[4096];
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT,
		.insns = (uintptr_t)insns,
		.insn_cnt = n,
		.license = (uintptr_t)"GPL",
		.log_buf = (uintptr_t)log,
		.log_size = sizeof(log),
		.log_level = 1,
	};
	int fd = bpf(BPF_PROG_LOAD, &attr, sizeof(attr));

	if (fd < 0)
		note(s, "%.100s", log);
	return fd;
}

static int make_array(void)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = BYTES, .max_entries = 1,
	};

	return bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
}

static int look_up(int map, void *value)
{
	uint32_t key = 0;
	union bpf_attr attr = { .map_fd = map, .key = (uintptr_t)&key, .value = (uintptr_t)value };

	return bpf(BPF_MAP_LOOKUP_ELEM, &attr, sizeof(attr));
}

/* Runs it; what it returned is the helper's error. */
static int run(struct stray *s, int program)
{
	uint64_t context[1] = {};
	union bpf_attr attr = {
		.test.prog_fd = program, .test.ctx_in = (uintptr_t)context, .test.ctx_size_in = sizeof(context),
	};

	if (bpf(BPF_PROG_TEST_RUN, &attr, sizeof(attr)))
		return -1;
	errno = -(int)attr.test.retval;
	return attr.test.retval ? -2 : 0;
}

static unsigned int probe(struct stray *s, int helper, uint64_t address)
{
	int map = make_array(), program, error;
	uint64_t value[BYTES / 8];
	struct bpf_insn insns[] = {
		/* The array's element into r6. */
		INSN(BPF_ST | BPF_W | BPF_MEM, BPF_REG_10, 0, -4, 0),
		MOVE(BPF_REG_2, BPF_REG_10),
		INSN(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, 0, -4),
		LONG(BPF_REG_1, BPF_PSEUDO_MAP_FD, (uint64_t)map),
		CALL(BPF_FUNC_map_lookup_elem),
		INSN(BPF_JMP | BPF_JNE | BPF_K, BPF_REG_0, 0, 1, 0),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
		MOVE(BPF_REG_1, BPF_REG_0),
		SET(BPF_REG_2, BYTES),
		LONG(BPF_REG_3, 0, address),
		CALL(helper),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};

	if (helper == PROBE_WRITE_USER) {
		/* Its arguments are the other way round. */
		insns[8] = MOVE(BPF_REG_2, BPF_REG_0);
		insns[9] = SET(BPF_REG_3, BYTES);
		insns[10] = INSN(BPF_LD | BPF_DW | BPF_IMM, BPF_REG_1, 0, 0, (uint32_t)address);
		insns[11] = INSN(0, 0, 0, 0, address >> 32);
	}
	program = load(s, insns, sizeof(insns) / sizeof(insns[0]));
	if (map < 0 || program < 0)
		return broke(s, "BPF_PROG_LOAD");
	error = run(s, program);
	close(program);
	if (error == -1)
		return broke(s, "BPF_PROG_TEST_RUN");
	if (error)
		return gave(s, "the helper", -1);
	if (look_up(map, value))
		return broke(s, "BPF_MAP_LOOKUP_ELEM");
	close(map);
	return helper == PROBE_WRITE_USER ? OUT_PASSES : saw(s, value, BYTES, 0);
}

unsigned int way_bpf_read_user(struct stray *s) { return probe(s, PROBE_READ_USER, (uintptr_t)s->secret); }
unsigned int way_bpf_write_user(struct stray *s) { return probe(s, PROBE_WRITE_USER, (uintptr_t)s->secret); }
unsigned int way_bpf_read_kernel(struct stray *s) { return probe(s, PROBE_READ_KERNEL, linear_address(s)); }
