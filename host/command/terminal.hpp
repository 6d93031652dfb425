// SPDX-License-Identifier: Apache-2.0
// Where a person looks while a run goes on.
#pragma once

namespace onebit::host {

// The width in characters of the terminal that shows what this process writes to standard output; 0: that is no terminal.
int terminal_width();

}  // namespace onebit::host
