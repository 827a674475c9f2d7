/* SPDX-License-Identifier: GPL-2.0 */
/* What selftests/modules/rival.c answers to every HVC, from EL2. */
#ifndef MVIRT_RIVAL_H
#define MVIRT_RIVAL_H

#define RIVAL_ANSWER_HIGH	0x7269
#define RIVAL_ANSWER_LOW	0x7661
#define RIVAL_ANSWER		(RIVAL_ANSWER_HIGH << 16 | RIVAL_ANSWER_LOW)

#endif /* MVIRT_RIVAL_H */
