// The kernels, by what they are compiled for. CUDA's own headers stay out of the other sources.
#pragma once

#include "replica.h"

namespace amorph::engine::device {

// What is passed to a kernel. A block takes replicas from the queue until none is left, or `stop`
// is raised.
struct Launch {
    Batch batch;
    char* arenas;               // global_bytes for each block
    const std::int64_t* queue;  // replicas to run; null: all of them, in order
    unsigned long long queue_length;
    unsigned long long* next;           // place in the queue
    unsigned long long* finished;       // replicas that are, and for the host to see:
    volatile unsigned long long* done;  // so many, but for blocks that finish at once
};

// The kernel function of D dimensions and a potential (index in potentials::All, one of those that
// are `compiled_as` themselves), to be launched with one argument, a Launch. `general`: for more
// than one minimisation at fixed volume, see Packed.
template <int D, int P>
const void* kernel_of(int lanes, bool shared, bool general);

}  // namespace amorph::engine::device
