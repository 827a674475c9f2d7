// SPDX-License-Identifier: GPL-2.0
/*
 * A plugin for QEMU's TCG that counts instructions by exception level and class between two hints,
 * HINT #0x60 and HINT #0x61, which a guest executes. A line for each such window goes to the file that
 * the argument out= names:
 *
 *	EL0 EL1 EL2 ERET MSR MRS ISB DSB TLBI
 *
 * One CPU only. Debian ships no header of the plugin API, so that what is used of its version 4 is
 * declared here, by QEMU's documentation ("QEMU TCG Plugins").
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_register;
struct qemu_info;

/* GLib's arrays, of which the API makes use; QEMU has GLib loaded. */
typedef struct {
	uint8_t *data;
	unsigned int len;
} GByteArray;
typedef struct {
	char *data;
	unsigned int len;
} GArray;
GByteArray *g_byte_array_new(void);
GByteArray *g_byte_array_set_size(GByteArray *array, unsigned int length);

typedef struct {
	struct qemu_plugin_register *handle;
	const char *name;
	const char *feature;
} qemu_plugin_reg_descriptor;

enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_CB_R_REGS, QEMU_PLUGIN_CB_RW_REGS };

typedef void (*vcpu_simple_cb)(qemu_plugin_id_t id, unsigned int vcpu);
typedef void (*vcpu_tb_trans_cb)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb);
typedef void (*vcpu_udata_cb)(unsigned int vcpu, void *userdata);
typedef void (*udata_cb)(qemu_plugin_id_t id, void *userdata);

void qemu_plugin_register_vcpu_init_cb(qemu_plugin_id_t id, vcpu_simple_cb cb);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, vcpu_tb_trans_cb cb);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, udata_cb cb, void *userdata);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, vcpu_udata_cb cb,
					    enum qemu_plugin_cb_flags flags, void *userdata);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *insn, void *dest, size_t len);
GArray *qemu_plugin_get_registers(void);
int qemu_plugin_read_register(struct qemu_plugin_register *handle, GByteArray *buffer);

__attribute__((visibility("default"))) int qemu_plugin_version = 4;

enum class { PLAIN, ERET, MSR, MRS, ISB, DSB, TLBI, BEGIN, END, NR_CLASSES };

static uint64_t counts[3][NR_CLASSES];
static bool counting;
static FILE *out;
static struct qemu_plugin_register *cpsr;
static GByteArray *buffer;

/* By the Arm ARM, C4.1: what is not named here is plain. */
static enum class classify(uint32_t word)
{
	if (word == 0xd69f03e0)
		return ERET;
	if (word == 0xd5032c1f)
		return BEGIN;
	if (word == 0xd5032c3f)
		return END;
	if ((word & 0xfffff0ff) == 0xd50330df)
		return ISB;
	if ((word & 0xfffff0ff) == 0xd503309f)
		return DSB;
	/* SYS of CRn 8. */
	if ((word & 0xfff8f000) == 0xd5088000)
		return TLBI;
	/* op0 2 and 3: registers. MSR of an immediate is another class, and is none of these. */
	if ((word & 0xfff00000) == 0xd5300000)
		return MRS;
	if ((word & 0xfff00000) == 0xd5100000)
		return MSR;
	return PLAIN;
}

static void executed(unsigned int vcpu, void *userdata)
{
	uintptr_t key = (uintptr_t)userdata;
	uint64_t sum[NR_CLASSES] = { 0 };
	unsigned int el = key / NR_CLASSES, class = key % NR_CLASSES, i, j;

	if (class == BEGIN) {
		memset(counts, 0, sizeof(counts));
		counting = true;
		return;
	}
	if (!counting)
		return;
	if (class != END) {
		if (el < 3)
			counts[el][class]++;
		return;
	}
	counting = false;
	for (i = 0; i < 3; i++) {
		uint64_t all = 0;

		for (j = 0; j < NR_CLASSES; j++) {
			all += counts[i][j];
			sum[j] += counts[i][j];
		}
		fprintf(out, "%" PRIu64 " ", all);
	}
	fprintf(out, "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", sum[ERET],
		sum[MSR], sum[MRS], sum[ISB], sum[DSB], sum[TLBI]);
	fflush(out);
}

static unsigned int current_el(void)
{
	uint32_t value = 0;

	g_byte_array_set_size(buffer, 0);
	if (!cpsr || qemu_plugin_read_register(cpsr, buffer) < (int)sizeof(value)) {
		fprintf(stderr, "count: cpsr cannot be read\n");
		exit(1);
	}
	memcpy(&value, buffer->data, sizeof(value));
	return value >> 2 & 3;
}

/* A block is translated for one exception level: that is part of what blocks are found by. */
static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb), i;
	unsigned int el = current_el();
	uint32_t word;

	for (i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uintptr_t key;

		if (qemu_plugin_insn_data(insn, &word, sizeof(word)) != sizeof(word))
			continue;
		key = el * NR_CLASSES + classify(word);
		qemu_plugin_register_vcpu_insn_exec_cb(insn, executed, QEMU_PLUGIN_CB_NO_REGS, (void *)key);
	}
}

static void vcpu_init(qemu_plugin_id_t id, unsigned int vcpu)
{
	GArray *registers = qemu_plugin_get_registers();
	qemu_plugin_reg_descriptor *all = (void *)registers->data;
	unsigned int i;

	for (i = 0; i < registers->len; i++) {
		if (!strcmp(all[i].name, "cpsr"))
			cpsr = all[i].handle;
	}
}

static void at_exit(qemu_plugin_id_t id, void *userdata)
{
	fclose(out);
}

__attribute__((visibility("default")))
int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc, char **argv)
{
	if (argc != 1 || strncmp(argv[0], "out=", 4)) {
		fprintf(stderr, "count: the one argument is out=FILE\n");
		return -1;
	}
	out = fopen(argv[0] + 4, "w");
	if (!out) {
		perror(argv[0] + 4);
		return -1;
	}
	buffer = g_byte_array_new();
	qemu_plugin_register_vcpu_init_cb(id, vcpu_init);
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, at_exit, NULL);
	return 0;
}
