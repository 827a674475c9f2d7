// SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note
/*
 * The layout of the structures in mvirt.h, as every architecture must see it.
 *
 * Nothing runs: to compile this file is the test. tool/tests/uapi.rs does so for each architecture
 * that it has a compiler for and checks the same numbers on the Rust side.
 */
#include <stddef.h>

#include "mvirt.h"

#define AT(type, member, offset, bytes)							\
	_Static_assert(offsetof(struct type, member) == (offset), #member " moved");	\
	_Static_assert(sizeof(((struct type *)0)->member) == (bytes), #member " changed size")

AT(mvirt_info, size, 0, 4);
AT(mvirt_info, flags, 4, 4);
AT(mvirt_info, abi_version, 8, 4);
AT(mvirt_info, page_size, 12, 4);
AT(mvirt_info, abi_hash, 16, 8);
AT(mvirt_info, cpus_possible, 24, 4);
AT(mvirt_info, options, 28, 4);
AT(mvirt_info, takeover_ns, 32, 8);
AT(mvirt_info, text_bytes, 40, 8);
AT(mvirt_info, rodata_bytes, 48, 8);
AT(mvirt_info, el1_bytes, 56, 8);
AT(mvirt_info, cpus_active, 64, 8);
AT(mvirt_info, image_bytes, 72, 8);
AT(mvirt_info, stack_bytes, 80, 8);
AT(mvirt_info, meta_bytes, 88, 8);
AT(mvirt_info, el2_table_bytes, 96, 8);
AT(mvirt_info, host_table_bytes, 104, 8);
AT(mvirt_info, pool_bytes, 112, 8);
AT(mvirt_info, shared_bytes, 120, 8);
AT(mvirt_info, trap_hypercall, 128, 8);
AT(mvirt_info, trap_stub, 136, 8);
AT(mvirt_info, trap_psci, 144, 8);
AT(mvirt_info, trap_smc, 152, 8);
AT(mvirt_info, trap_fault_mapped, 160, 8);
AT(mvirt_info, trap_fault_denied, 168, 8);
AT(mvirt_info, trap_sysreg, 176, 8);
AT(mvirt_info, trap_other, 184, 8);

_Static_assert(MVIRT_INFO_SIZE_VER1 == 192, "the first version is as it was");

AT(mvirt_info, guest_table_bytes, 192, 8);
AT(mvirt_info, vm_bytes, 200, 8);
AT(mvirt_info, guest_bytes, 208, 8);
AT(mvirt_info, trap_fault_decoy, 216, 8);
AT(mvirt_info, decoy_bytes, 224, 8);
AT(mvirt_info, teardown_ns, 232, 8);

_Static_assert(sizeof(struct mvirt_info) == 240, "nothing is implied by padding");
_Static_assert(MVIRT_GET_INFO == 0xd600, "a command number moved");
_Static_assert(sizeof(struct kvm_protected_vm_info) == 64, "as on Android");
