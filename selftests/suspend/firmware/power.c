// SPDX-License-Identifier: GPL-2.0
/*
 * What power does to a CPU's registers. After it was off, those of the architecture are UNKNOWN but for
 * the few that a reset defines: here they hold what does most harm to who relies on them. All traps may
 * be on, stage 2 and EL2's tables may be anywhere, timers fire, a virtual interrupt is pending.
 */
#include "firmware.h"

/* SCR_EL3: NS, RES1, FIQ, HCE, RW, and what lower levels may use of pointer authentication, MTE, FGT, ECV, HCX, GCS, SME, TCR2, SCTLR2, PIE, FGT2. */
#define SCR	(BIT(0) | BIT(4) | BIT(5) | BIT(2) | BIT(8) | BIT(10) | BIT(16) | BIT(17) | BIT(26) | \
		 BIT(27) | BIT(28) | BIT(38) | BIT(39) | BIT(41) | BIT(43) | BIT(44) | BIT(45) | BIT(59))
/* CPTR_EL3: ESM, EZ; nothing traps. */
#define CPTR	(BIT(12) | BIT(8))
/* MDCR_EL3: SPE, trace and branch records are the Non-secure world's. */
#define MDCR	(3UL << 32 | 3UL << 24 | 3UL << 12)
/* SMCR_EL3: FA64, EZT0, LEN. */
#define SMCR	(BIT(31) | BIT(30) | 0xf)

#define has_vhe()	id_field(mmfr1, 8)
#define has_hcx()	id_field(mmfr1, 40)
#define has_fgt()	id_field(mmfr0, 56)
#define has_sve()	id_field(pfr0, 32)
#define has_sme()	id_field(pfr1, 24)
#define has_gcs()	id_field(pfr1, 44)
#define has_tcr2()	(read_sysreg(S3_0_C0_C7_3) & 0xf)
#define has_pauth()	(read_sysreg(id_aa64isar1_el1) >> 4 & 0xff || read_sysreg(S3_0_C0_C6_2) >> 12 & 0xf)

void open_features(void)
{
	write_sysreg(scr_el3, SCR);
	write_sysreg(cptr_el3, CPTR);
	write_sysreg(mdcr_el3, MDCR);
	isb();
	if (has_sve())
		write_sysreg(S3_6_C1_C2_0, 0xf);
	if (has_sme())
		write_sysreg(S3_6_C1_C2_6, SMCR);
	isb();
}

static u64 next(u64 *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

#define lose(r)	write_sysreg(r, next(seed))

static void lose_el2(u64 *seed)
{
	/* With EL2 the highest level, a reset turns its MMU and caches off (Arm ARM, SCTLR_EL2). */
	write_sysreg(sctlr_el2, SCTLR_EL2_OFF);
	lose(hcr_el2);
	isb();
	lose(vbar_el2);
	lose(vttbr_el2);
	lose(vtcr_el2);
	lose(ttbr0_el2);
	lose(tcr_el2);
	lose(mair_el2);
	lose(tpidr_el2);
	lose(sp_el2);
	lose(elr_el2);
	lose(spsr_el2);
	lose(esr_el2);
	lose(far_el2);
	lose(hpfar_el2);
	lose(cptr_el2);
	lose(hstr_el2);
	lose(mdcr_el2);
	lose(cnthctl_el2);
	lose(cntvoff_el2);
	lose(vpidr_el2);
	lose(vmpidr_el2);
	if (has_hcx())
		lose(S3_4_C1_C2_2);
	if (has_fgt()) {
		lose(S3_4_C1_C1_4);
		lose(S3_4_C1_C1_5);
		lose(S3_4_C1_C1_6);
		lose(S3_4_C3_C1_4);
		lose(S3_4_C3_C1_5);
	}
	if (has_fgt() >= 2) {
		lose(S3_4_C3_C1_2);
		lose(S3_4_C3_C1_3);
		lose(S3_4_C3_C1_7);
		lose(S3_4_C3_C1_0);
		lose(S3_4_C3_C1_1);
	}
	if (has_sve())
		lose(S3_4_C1_C2_0);
	if (has_sme())
		lose(S3_4_C1_C2_6);
	if (has_tcr2())
		lose(S3_4_C2_C0_3);
	if (has_gcs())
		lose(S3_4_C2_C5_0);
	/* The virtual interface: traps, maintenance interrupts, and a pending INTID 40 of group 1. */
	write_sysreg(S3_4_C12_C9_5, 0);
	write_sysreg(S3_4_C12_C11_7, next(seed));
	write_sysreg(S3_4_C12_C12_0, 1UL << 62 | 1UL << 60 | 40);
	write_sysreg(S3_4_C12_C11_0, next(seed) | 1);
}

static void lose_el1(u64 *seed)
{
	lose(sctlr_el1);
	lose(cpacr_el1);
	lose(ttbr0_el1);
	lose(ttbr1_el1);
	lose(tcr_el1);
	lose(mair_el1);
	lose(amair_el1);
	lose(vbar_el1);
	lose(contextidr_el1);
	lose(tpidr_el1);
	lose(tpidr_el0);
	lose(tpidrro_el0);
	lose(sp_el1);
	lose(sp_el0);
	lose(elr_el1);
	lose(spsr_el1);
	lose(esr_el1);
	lose(far_el1);
	lose(afsr0_el1);
	lose(afsr1_el1);
	lose(par_el1);
	lose(cntkctl_el1);
	lose(pmuserenr_el0);
	write_sysreg(csselr_el1, next(seed) & 3);
	/* MDE, KDE, TDCC; and the OS lock. */
	write_sysreg(mdscr_el1, next(seed) & 0xb000);
	write_sysreg(oslar_el1, 1);
	if (has_sve())
		lose(S3_0_C1_C2_0);
	if (has_sme())
		lose(S3_0_C1_C2_6);
	if (has_tcr2())
		lose(S3_0_C2_C0_3);
	if (has_gcs()) {
		lose(S3_0_C2_C5_0);
		lose(S3_0_C2_C5_2);
	}
	if (has_pauth()) {
		lose(S3_0_C2_C1_0);
		lose(S3_0_C2_C1_1);
		lose(S3_0_C2_C2_0);
		lose(S3_0_C2_C2_1);
		lose(S3_0_C2_C3_0);
		lose(S3_0_C2_C3_1);
	}
}

static void lose_fp(u64 *seed)
{
	u64 low = next(seed), high = next(seed);

	asm volatile(
		".arch_extension fp\n\t"
		".arch_extension simd\n\t"
		"fmov d0, %0\n\t"
		"mov v0.d[1], %1\n\t"
		".irp n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31\n\t"
		"mov v\\n\\().16b, v0.16b\n\t"
		".endr\n\t"
		"msr fpcr, %0\n\t"
		"msr fpsr, %1"
		: : "r"(low & 0x7c00000), "r"(high & 0x800009f));
}

/*
 * The GIC's CPU interface as a reset closes it, but for the priority mask: while that is in the upper half,
 * all that the Non-secure world can see of it, that world may open it; below it may not.
 */
void close_interface(void)
{
	write_sysreg(S3_0_C12_C12_7, 0);
	write_sysreg(S3_0_C12_C12_6, 0);
	write_sysreg(S3_0_C12_C12_4, 0);
	write_sysreg(S3_0_C4_C6_0, 0x80);
	isb();
}

void lose_context(u64 *seed)
{
	lose_fp(seed);
	close_interface();
	lose_el1(seed);
	lose_el2(seed);
	/* The comparators that nobody keeps: enabled, and long due. */
	write_sysreg(cntv_cval_el0, 0);
	write_sysreg(cntv_ctl_el0, 1);
	write_sysreg(cnthp_cval_el2, 0);
	write_sysreg(cnthp_ctl_el2, 1);
	if (has_vhe()) {
		write_sysreg(S3_4_C14_C3_2, 0);
		write_sysreg(S3_4_C14_C3_1, 1);
	}
	isb();
}

/* CNTP, which the kernel set aside or sets anew. */
void lose_timers(void)
{
	write_sysreg(cntp_ctl_el0, 0);
	write_sysreg(cntv_ctl_el0, 0);
	isb();
}
