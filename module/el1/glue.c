// SPDX-License-Identifier: GPL-2.0
/*
 * mvirt: what only C can say to the kernel. See glue.h.
 */
#include <linux/cpu.h>
#include <linux/cpuidle.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/of.h>
#include <linux/of_address.h>
#include <linux/smp.h>

#include "glue.h"

/* A redistributor: RD_base and SGI_base (Arm IHI 0069, 12.10). */
#define GICR_FRAMES		0x20000
#define GICR_TYPER		0x8
#define GICR_TYPER_VLPIS	BIT(1)
#define GICR_TYPER_LAST		BIT(4)

bool mvirt_allow_release;
module_param_named(allow_release, mvirt_allow_release, bool, 0444);
MODULE_PARM_DESC(allow_release, "Let the module be unloaded and EL2 be given back");

int mvirt_crash_in_setup = -1;
#ifdef CONFIG_MVIRT_CRASH_TEST
module_param_named(crash_in_setup, mvirt_crash_in_setup, int, 0444);
MODULE_PARM_DESC(crash_in_setup, "Break EL2 while it is set up, in this way");
#endif

/* blob.S: initial data, so that modpost has to be told that this runs in time. */
extern const u8 mvirt_el2_image[], mvirt_el2_image_end[];

const void *__ref mvirt_image(size_t *size)
{
	*size = mvirt_el2_image_end - mvirt_el2_image;
	return mvirt_el2_image;
}

void *mvirt_alloc_pages(size_t size)
{
	return alloc_pages_exact(size, GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN);
}

void mvirt_free_pages(void *virt, size_t size)
{
	free_pages_exact(virt, size);
}

u64 mvirt_virt_to_phys(const void *virt)
{
	return virt_to_phys((void *)virt);
}

void *mvirt_phys_to_virt(u64 phys)
{
	return phys_to_virt(phys);
}

unsigned int mvirt_nr_cpu_ids(void)
{
	return nr_cpu_ids;
}

bool mvirt_cpu_possible(unsigned int cpu)
{
	return cpu_possible(cpu);
}

bool mvirt_cpu_online(unsigned int cpu)
{
	return cpu_online(cpu);
}

unsigned int mvirt_this_cpu(void)
{
	return raw_smp_processor_id();
}

int mvirt_cpu_mpidr(unsigned int cpu, u64 *mpidr)
{
	struct device_node *node = of_get_cpu_node(cpu, NULL);
	const __be32 *reg;
	int cells, len, ret = -ENOENT;

	if (!node)
		return ret;
	cells = of_n_addr_cells(node);
	reg = of_get_property(node, "reg", &len);
	if (reg && cells > 0 && len >= cells * (int)sizeof(*reg)) {
		*mpidr = of_read_number(reg, cells);
		ret = 0;
	}
	of_node_put(node);
	return ret;
}

/* Looks for the frames of @affinity in one region of redistributors. */
static u64 gicr_in_region(const struct resource *region, u64 stride, u32 affinity)
{
	void __iomem *base = ioremap(region->start, resource_size(region));
	u64 at = 0, found = 0, typer, step;

	if (!base)
		return 0;
	while (at + GICR_FRAMES <= resource_size(region)) {
		typer = readq_relaxed(base + at + GICR_TYPER);
		if (typer >> 32 == affinity) {
			found = region->start + at;
			break;
		}
		if (typer & GICR_TYPER_LAST)
			break;
		step = GICR_FRAMES;
		/* Two more frames for virtual LPIs. */
		if (typer & GICR_TYPER_VLPIS)
			step *= 2;
		at += stride ? stride : step;
	}
	iounmap(base);
	return found;
}

u64 mvirt_gicr_phys(u64 mpidr)
{
	struct device_node *node = of_find_compatible_node(NULL, NULL, "arm,gic-v3");
	u32 affinity = (mpidr & 0xffffff) | (mpidr >> 8 & 0xff000000);
	struct resource region;
	u32 nr = 1, i;
	u64 stride = 0;
	u64 found = 0;

	if (!node)
		return 0;
	of_property_read_u32(node, "#redistributor-regions", &nr);
	of_property_read_u64(node, "redistributor-stride", &stride);
	for (i = 0; i < nr && !found; i++)
		if (!of_address_to_resource(node, 1 + i, &region))
			found = gicr_in_region(&region, stride, affinity);
	of_node_put(node);
	return found;
}

const char *mvirt_cpu_enable_method(unsigned int cpu)
{
	struct device_node *node = of_get_cpu_node(cpu, NULL);
	const char *method = NULL;

	if (!node)
		return NULL;
	/* The string belongs to the flattened tree, which stays. */
	if (of_property_read_string(node, "enable-method", &method))
		method = NULL;
	of_node_put(node);
	return method;
}

void mvirt_on_each_cpu(void (*fn)(void *arg), void *arg)
{
	on_each_cpu(fn, arg, true);
}

int mvirt_on_cpu(unsigned int cpu, void (*fn)(void *arg), void *arg)
{
	return smp_call_function_single(cpu, fn, arg, true);
}

void mvirt_hold_cpus(void)
{
	cpus_read_lock();
	cpuidle_pause_and_lock();
}

void mvirt_free_cpus(void)
{
	cpuidle_resume_and_unlock();
	cpus_read_unlock();
}

struct walk {
	int (*fn)(u64 start, u64 size, void *arg);
	void *arg;
};

static int walk_one(struct resource *res, void *data)
{
	struct walk *walk = data;

	return walk->fn(res->start, resource_size(res), walk->arg);
}

int mvirt_walk_ram(int (*fn)(u64 start, u64 size, void *arg), void *arg)
{
	struct walk walk = { .fn = fn, .arg = arg };

	return walk_iomem_res_desc(IORES_DESC_NONE,
				   IORESOURCE_SYSTEM_RAM | IORESOURCE_BUSY,
				   0, ~0ULL, &walk, walk_one);
}

void mvirt_hold_module(void)
{
	__module_get(THIS_MODULE);
}
