// SPDX-License-Identifier: Apache-2.0
// Programs: an optimizer's arithmetic over blocks, tensors and the model, written once and compiled for the CPU (once a SIMD
// target) and for CUDA. An author writes, between ONEBIT_PROGRAMS and ONEBIT_END_PROGRAMS,
//
//   struct Produce {  // over_blocks<Produce>(pass, view, tile) runs it for every block of a tile
//     static ONEBIT_LOOP void run(const Pass& pass, const View& view, const Block& block) {
//       const Input gradient = block.gradient;
//       each(block.count, [=](int64_t i) ONEBIT_BODY { message[i] = gradient[i] * scale; }, gradient);
//     }
//   };
//
// where Pass is plain data of the author's own. What there is to write with:
//
//   each(count, f, arrays...)          f(i) for every element; arrays: those that come from memory, for prefetching
//   sums<n>(count, f)                  f(i) answers n terms; their sums, in the order of lanes.hpp: the same bits everywhere
//   sums_and_least<n>(count, f)        the same, and the least of the n + 1st term
//   sum_of_blocks(view, tensor, slot)  of a number per block, over a tensor, in the order of its blocks
//   is_first()                         on CUDA, 256 threads run one program: what is not per element only the first may write
//
// Every thread of a program must come to its sums alike: none behind a condition on an element, none after `if (!is_first())`.
// over_tensors<P> runs P::run(pass, view, tensor) for every tensor, over_model<P> runs P::run(pass, view) once.
//
// For files that are compiled once a target: `#include "onebit/targets.hpp"` comes before it, as that header says.
#if defined(ONEBIT_FOR_CUDA)
#include "onebit/programs/program_cuda.hpp"
#else
#include "onebit/programs/program_cpu.hpp"
#endif
