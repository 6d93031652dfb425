// SPDX-License-Identifier: Apache-2.0
// Nothing of its own: the source by which CMake compiles the headers that suites share.
