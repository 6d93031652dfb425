/* SPDX-License-Identifier: Apache-2.0 */
/* A library that a plugin needs and that the loader will not find. */
int onebit_gone(void);
int onebit_gone(void) { return 1; }
