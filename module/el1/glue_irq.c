// SPDX-License-Identifier: GPL-2.0
/*
 * mvirt: per-CPU interrupts and what the CPUs have. See vm.h.
 */
#include <linux/cpuhotplug.h>
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/of.h>
#include <linux/of_irq.h>
#include <linux/percpu.h>
#include <asm/barrier.h>
#include <asm/cpufeature.h>
#include <asm/sysreg.h>

#include "vm.h"

/* request_percpu_irq() wants a per-CPU cookie; this one is never looked at. */
static DEFINE_PER_CPU(int, cookie);

unsigned int mvirt_of_irq(const char *compatible, int index)
{
	struct device_node *node = of_find_compatible_node(NULL, NULL, compatible);
	unsigned int irq;

	if (!node)
		return 0;
	irq = irq_of_parse_and_map(node, index);
	of_node_put(node);
	return irq;
}

static irqreturn_t nothing_to_do(int irq, void *dev)
{
	return IRQ_HANDLED;
}

int mvirt_ppi_request(unsigned int irq, const char *name)
{
	return request_percpu_irq(irq, nothing_to_do, name, &cookie);
}

void mvirt_ppi_free(unsigned int irq)
{
	free_percpu_irq(irq, &cookie);
}

void mvirt_ppi_enable(unsigned int irq)
{
	enable_percpu_irq(irq, irq_get_trigger_type(irq));
}

void mvirt_ppi_disable(unsigned int irq)
{
	disable_percpu_irq(irq);
}

static int cpu_up(unsigned int cpu)
{
	/*
	 * Where no guest has run yet, the virtual timer is as a reset left it, UNKNOWN, and would fire
	 * without an end. Its interrupt is ours, so nobody else uses it.
	 */
	write_sysreg(0, cntv_ctl_el0);
	isb();
	mvirt_rs_cpu_up();
	return 0;
}

static int cpu_down(unsigned int cpu)
{
	mvirt_rs_cpu_down();
	return 0;
}

int mvirt_cpuhp_add(void)
{
	return cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "mvirt:online", cpu_up, cpu_down);
}

void mvirt_cpuhp_remove(int state)
{
	cpuhp_remove_state(state);
}

bool mvirt_has_gicv3(void)
{
	u64 pfr0 = read_sanitised_ftr_reg(SYS_ID_AA64PFR0_EL1);

	return cpuid_feature_extract_unsigned_field(pfr0, ID_AA64PFR0_EL1_GIC_SHIFT);
}

unsigned int mvirt_pa_range(void)
{
	u64 mmfr0 = read_sanitised_ftr_reg(SYS_ID_AA64MMFR0_EL1);

	return cpuid_feature_extract_unsigned_field(mmfr0, ID_AA64MMFR0_EL1_PARANGE_SHIFT);
}
