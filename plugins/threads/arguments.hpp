// What a rank may bring to a collective. Each check throws invalid_argument or unsupported, in words that name the argument.
#pragma once

#include "operation.hpp"

namespace onebit::threads {

void check_call(const Call& call);
void check_parts(const char* name, const void* buffer, const Part* parts, int ranks);
// in must be out_parts[rank] itself, or apart from every part.
void check_gather_input(const void* in, const void* out, const Part* out_parts, int rank, int ranks);
void check_apart(const void* in, const Part* in_parts, const void* out, const Part* out_parts, int ranks);
void check_root(int root, int ranks);
void check_reduction(ReduceOp op, onebit_dtype dtype);

// Fills count, bytes and dtype; answers the first element.
char* check_tensor(const char* name, const Tensor& tensor, Offer& offer);
// out has the shape and type of in, and is the same or apart from it.
void check_same_shape(const Tensor& in, const Tensor& out, const Offer& offer);

}  // namespace onebit::threads
