// Threads that share work, and sleep between: the only state that outlives a call.
#pragma once
#include <functional>

#include "params.hpp"

namespace mien {

// slot: 0 .. threads - 1, of the thread that does the range.
using Work = std::function<void(int slot, i64 begin, i64 end)>;

// Do 0 .. count in ranges, on the calling thread and up to threads - 1 others. Where the others are
// taken by another call, or cannot be started, the caller does all of it. work must not throw.
void share(i64 count, int threads, const Work &work);

}  // namespace mien
