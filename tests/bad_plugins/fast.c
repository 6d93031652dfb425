/* SPDX-License-Identifier: Apache-2.0 */
/* A sound plugin that leaves its thread in a hurry when it is loaded: rounding toward zero, and small numbers flushed to zero.
 * So does what is linked with -ffast-math. */
#include <fenv.h>

#include "bad.c"

__attribute__((constructor)) static void hurry(void) {
  fesetround(FE_TOWARDZERO);
#ifdef __SSE__
  __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040);
#endif
}
