// SPDX-License-Identifier: GPL-2.0
/*
 * The generic timers (Arm ARM, chapter D12): the virtual timer, whose registers are the CPU's, and the
 * physical one, which a hypervisor may emulate, must not be told apart but by their numbers.
 */
#include "gic.h"
#include "tests.h"

PAYLOAD_TESTS(TIMER_TESTS)

#define ENABLE	BIT(0)
#define IMASK	BIT(1)
#define ISTATUS	BIT(2)

struct timer {
	u32 intid;
	u64 (*count)(void);
	u64 (*get_ctl)(void);
	u64 (*get_cval)(void);
	u64 (*get_tval)(void);
	void (*set_ctl)(u64 value);
	void (*set_cval)(u64 value);
	void (*set_tval)(u64 value);
};

#define TIMER(name, ppi, letter)							\
	static u64 name##_count(void) { isb(); return read_sysreg(cnt##letter##ct_el0); }	\
	static u64 name##_get_ctl(void) { isb(); return read_sysreg(cnt##letter##_ctl_el0); }	\
	static u64 name##_get_cval(void) { return read_sysreg(cnt##letter##_cval_el0); }	\
	static u64 name##_get_tval(void) { isb(); return read_sysreg(cnt##letter##_tval_el0); }	\
	static void name##_set_ctl(u64 v) { write_sysreg(cnt##letter##_ctl_el0, v); isb(); }	\
	static void name##_set_cval(u64 v) { write_sysreg(cnt##letter##_cval_el0, v); isb(); }	\
	static void name##_set_tval(u64 v) { write_sysreg(cnt##letter##_tval_el0, v); isb(); }	\
	static const struct timer name = {						\
		ppi, name##_count, name##_get_ctl, name##_get_cval, name##_get_tval,	\
		name##_set_ctl, name##_set_cval, name##_set_tval,			\
	}

TIMER(virtual, PPI_VTIMER, v);
TIMER(physical, PPI_PTIMER, p);

/* What each CPU's handler saw of a timer. */
static struct seen {
	u64 nr;
	u64 ctl;
	u64 when;
	const struct timer *timer;
	/* The handler leaves the timer as it is that many times, then turns it off; or sets it anew. */
	u64 leave;
	u64 period;
	u64 next;
} seen[GUEST_MAX_CPUS][2];

static void timer_irq(u32 intid)
{
	struct seen *s = &seen[this_cpu()->index][intid == PPI_PTIMER];

	if (intid != PPI_VTIMER && intid != PPI_PTIMER) {
		CHECK_AT(intid, 0, 1);
		return;
	}
	s->ctl = s->timer->get_ctl();
	s->when = s->timer->count();
	if (s->period && s->nr + 1 < s->leave) {
		s->next += s->period;
		s->timer->set_cval(s->next);
	} else if (s->nr + 1 >= s->leave) {
		s->timer->set_ctl(0);
	}
	WRITE_ONCE(s->nr, s->nr + 1);
}

static struct seen *start_on(const struct timer *t)
{
	struct seen *s = &seen[this_cpu()->index][t->intid == PPI_PTIMER];

	s->timer = t;
	s->leave = 1;
	t->set_ctl(0);
	gic_enable(t->intid);
	return s;
}

static struct seen *start(const struct timer *t)
{
	gic_hook = timer_irq;
	gic_init();
	return start_on(t);
}

/* Interrupts on until the handler has run @nr times. */
static void wait_irq(struct seen *s, u64 nr)
{
	irq_enable();
	wait_for(&s->nr, nr);
	irq_disable();
}

void counter_starts_near_zero_and_runs(void)
{
	u64 hz = read_sysreg(cntfrq_el0), last = virtual.count(), i, v, p;

	CHECK_LE(1000000, hz);
	/* The counter's zero is when the VM was made: less than a minute ago. */
	CHECK_LE(last, 60 * hz);
	for (i = 0; i < 1000; i++) {
		v = virtual.count();
		CHECK_LE(last, v);
		last = v;
	}
	/* By what the host calls 200 ms; and no more than a loaded machine explains. */
	v = virtual.count();
	p = physical.count();
	request(REQUEST_SLEEP, 200000);
	CHECK_LE(hz / 5, virtual.count() - v);
	CHECK_LE(virtual.count() - v, 20 * hz);
	/* Both counters run at one rate: their distance is that of the offset. */
	p = physical.count() - p;
	v = virtual.count() - v;
	CHECK_LE(p > v ? p - v : v - p, hz);
	v = virtual.count();
	request(REQUEST_MIGRATE, 0);
	CHECK_LE(v, virtual.count());
}

static void registers(const struct timer *t)
{
	u64 hz = read_sysreg(cntfrq_el0), at, tval;

	t->set_ctl(0);
	t->set_cval(0x123456789abcdef0);
	CHECK_EQ(t->get_cval(), 0x123456789abcdef0);
	CHECK_EQ(t->get_ctl(), 0);
	/* TVAL is a signed 32-bit view of CVAL - count. */
	at = t->count();
	t->set_tval(hz);
	CHECK_LE(at + hz, t->get_cval());
	CHECK_LE(t->get_cval(), t->count() + hz);
	at = t->count();
	tval = t->get_tval();
	CHECK_LE((u32)(t->get_cval() - t->count()), tval);
	CHECK_LE(tval, (u32)(t->get_cval() - at));
	at = t->count();
	t->set_tval((u32)-1000);
	CHECK_LE(at - 1000, t->get_cval());
	CHECK_LE(t->get_cval(), t->count() - 1000);
	CHECK((int32_t)t->get_tval() < 0);
	CHECK_EQ(t->get_tval() >> 32, 0);
	/* Enabled and past, masked: the status is set and cannot be written. */
	t->set_ctl(ENABLE | IMASK);
	CHECK_EQ(t->get_ctl(), ENABLE | IMASK | ISTATUS);
	t->set_cval(~0UL);
	CHECK_EQ(t->get_ctl(), ENABLE | IMASK);
	t->set_ctl(ENABLE | IMASK | ISTATUS);
	CHECK_EQ(t->get_ctl(), ENABLE | IMASK);
	t->set_ctl(0);
}

static void fires(const struct timer *t, bool by_tval)
{
	u64 ms = ticks(1000), i, due;
	struct seen *s = start(t);

	for (i = 1; i <= 10; i++) {
		if (by_tval) {
			t->set_tval(ms);
			due = t->get_cval();
		} else {
			due = t->count() + ms;
			t->set_cval(due);
		}
		t->set_ctl(ENABLE);
		wait_irq(s, i);
		/* Not early; the line was up. */
		CHECK_AT(i, s->when >= due, 1);
		CHECK_AT(i, s->ctl, ENABLE | ISTATUS);
		CHECK_AT(i, gic_log[0].intid[i - 1], t->intid);
	}
	gic_quiet(__LINE__);
}

static void masked(const struct timer *t)
{
	struct seen *s = start(t);
	u64 i;

	t->set_tval(ticks(100));
	t->set_ctl(ENABLE | IMASK);
	/* Some machines made of software set the status late. */
	for (i = 0; i < 1000 && !(t->get_ctl() & ISTATUS); i++)
		delay(1000);
	CHECK_EQ(t->get_ctl(), ENABLE | IMASK | ISTATUS);
	CHECK(!gic_pending(t->intid));
	gic_quiet(__LINE__);
	t->set_ctl(ENABLE);
	wait_irq(s, 1);
	/* The mask takes an interrupt back that was not taken. */
	t->set_tval(0);
	t->set_ctl(ENABLE);
	CHECK(gic_pending(t->intid));
	t->set_ctl(ENABLE | IMASK);
	CHECK(!gic_pending(t->intid));
	gic_quiet(__LINE__);
}

static void disabled(const struct timer *t)
{
	start(t);
	t->set_tval(0);
	t->set_ctl(0);
	/* ISTATUS is unknown while the timer is off. */
	CHECK_EQ(t->get_ctl() & ENABLE, 0);
	CHECK(!gic_pending(t->intid));
	gic_quiet(__LINE__);
	/* On at the timer, off at the GIC. */
	gic_disable(t->intid);
	t->set_ctl(ENABLE);
	CHECK(gic_pending(t->intid));
	gic_quiet(__LINE__);
	t->set_ctl(0);
	CHECK(!gic_pending(t->intid));
}

static void is_level_sensitive(const struct timer *t)
{
	struct seen *s = start(t);

	/* The handler lets it be: it comes again and again, until the fifth turns it off. */
	s->leave = 5;
	t->set_tval(0);
	t->set_ctl(ENABLE);
	wait_irq(s, 5);
	CHECK(!gic_pending(t->intid));
	gic_quiet(__LINE__);
	CHECK_EQ(s->nr, 5);
	/* Moved into the future before it was taken: the level falls. */
	t->set_tval(0);
	t->set_ctl(ENABLE);
	CHECK(gic_pending(t->intid));
	/* By CVAL: a minute may be more than TVAL's 31 bits hold. */
	t->set_cval(t->count() + ticks(60000000));
	CHECK(!gic_pending(t->intid));
	gic_quiet(__LINE__);
	t->set_ctl(0);
}

static void far_and_past(const struct timer *t)
{
	struct seen *s = start(t);

	t->set_cval(~0UL);
	t->set_ctl(ENABLE);
	CHECK_EQ(t->get_ctl(), ENABLE);
	gic_quiet(__LINE__);
	/* So far that a count of nanoseconds overflows. */
	t->set_cval(1UL << 62);
	gic_quiet(__LINE__);
	t->set_cval(0);
	wait_irq(s, 1);
	CHECK_EQ(s->ctl, ENABLE | ISTATUS);
}

static void wakes_wfi(const struct timer *t, bool masked)
{
	u64 i, due, hz = read_sysreg(cntfrq_el0);
	struct seen *s = start(t);

	for (i = 1; i <= 5; i++) {
		/* Long enough for the host to put the vCPU to sleep. */
		due = t->count() + ticks(20000 * i);
		t->set_cval(due);
		t->set_ctl(ENABLE);
		if (masked) {
			while (icc_read(HPPIR1) != t->intid)
				wfi();
			CHECK_AT(i, t->count() >= due, 1);
			CHECK_AT(i, s->nr, i - 1);
			gic_take();
		} else {
			while (READ_ONCE(s->nr) < i) {
				irq_disable();
				if (READ_ONCE(s->nr) < i)
					wfi();
				irq_enable();
			}
			irq_disable();
		}
		CHECK_AT(i, s->nr, i);
		CHECK_AT(i, s->when >= due, 1);
		/* On time, as far as a loaded machine under emulation can be. */
		CHECK_LE(t->count() - due, 2 * hz);
	}
}

static void kept_across_exits(const struct timer *t)
{
	struct seen *s = start(t);
	u64 cval, i;

	/* Programmed, then the vCPU is out and comes back on another CPU. */
	cval = t->count() + ticks(60000000);
	t->set_cval(cval);
	t->set_ctl(ENABLE | IMASK);
	for (i = 0; i < 10; i++) {
		request(REQUEST_SLEEP, 1000);
		request(REQUEST_MIGRATE, 0);
		CHECK_AT(i, t->get_cval(), cval);
		CHECK_AT(i, t->get_ctl(), ENABLE | IMASK);
	}
	/* It is due while the VMM has the vCPU. */
	t->set_ctl(0);
	t->set_tval(ticks(5000));
	t->set_ctl(ENABLE);
	request(REQUEST_SLEEP, 20000);
	CHECK_EQ(t->get_ctl(), ENABLE | ISTATUS);
	wait_irq(s, 1);
	gic_quiet(__LINE__);
}

static void ticks_of(const struct timer *t)
{
	struct seen *s = start(t);
	u64 began = t->count();

	s->leave = 100;
	s->period = ticks(1000);
	s->next = began + s->period;
	t->set_cval(s->next);
	t->set_ctl(ENABLE);
	irq_enable();
	while (READ_ONCE(s->nr) < 100 && t->count() < began + ticks(GUEST_WAIT_SECONDS * 1000000UL))
		wfi();
	irq_disable();
	CHECK_EQ(s->nr, 100);
	CHECK_LE(100 * s->period, t->count() - began);
	gic_quiet(__LINE__);
}

void virtual_registers(void) { registers(&virtual); }
void physical_registers(void) { registers(&physical); }
void virtual_fires_by_compare_value(void) { fires(&virtual, false); }
void physical_fires_by_compare_value(void) { fires(&physical, false); }
void virtual_fires_by_timer_value(void) { fires(&virtual, true); }
void physical_fires_by_timer_value(void) { fires(&physical, true); }
void virtual_masked(void) { masked(&virtual); }
void physical_masked(void) { masked(&physical); }
void virtual_disabled(void) { disabled(&virtual); }
void physical_disabled(void) { disabled(&physical); }
void virtual_is_level_sensitive(void) { is_level_sensitive(&virtual); }
void physical_is_level_sensitive(void) { is_level_sensitive(&physical); }
void virtual_far_and_past(void) { far_and_past(&virtual); }
void physical_far_and_past(void) { far_and_past(&physical); }
void virtual_wakes_wfi(void) { wakes_wfi(&virtual, false); }
void physical_wakes_wfi(void) { wakes_wfi(&physical, false); }
void virtual_wakes_masked_wfi(void) { wakes_wfi(&virtual, true); }
void physical_wakes_masked_wfi(void) { wakes_wfi(&physical, true); }
void virtual_kept_across_exits(void) { kept_across_exits(&virtual); }
void physical_kept_across_exits(void) { kept_across_exits(&physical); }
void virtual_ticks(void) { ticks_of(&virtual); }
void physical_ticks(void) { ticks_of(&physical); }

static u64 finished[GUEST_MAX_CPUS];

static void tick_both(u64 index)
{
	static const struct timer *const timers[] = { &virtual, &physical };
	struct seen *s;
	u64 i;

	if (index)
		gic_init_cpu();
	for (i = 0; i < 2; i++) {
		s = start_on(timers[i]);
		s->leave = 50;
		/* Each CPU and timer in its own time. */
		s->period = ticks(1000 + 370 * index + 113 * i);
		s->next = timers[i]->count() + s->period;
		timers[i]->set_cval(s->next);
		timers[i]->set_ctl(ENABLE);
	}
	irq_enable();
	for (i = 0; i < 2; i++)
		wait_for(&seen[index][i].nr, 50);
	irq_disable();
	gic_quiet(__LINE__);
	CHECK_AT(index, gic_log[index].nr, 100);
	dsb();
	WRITE_ONCE(finished[index], 1);
}

void both_on_all_cpus(void)
{
	u64 i;

	gic_hook = timer_irq;
	gic_init();
	for (i = 1; i < 4; i++)
		cpu_start(i, tick_both);
	tick_both(0);
	for (i = 0; i < 4; i++)
		wait_for(&finished[i], 1);
}
