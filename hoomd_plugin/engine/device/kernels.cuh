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

// The kernel function of a potential (index in potentials::All), to be launched with one argument,
// a Launch. `general`: for more than one minimisation at fixed volume, see Packed. Each dimension
// is compiled apart, side by side.
template <int D>
const void* kernel_function(int potential, int lanes, bool shared, bool general);
template <>
const void* kernel_function<2>(int potential, int lanes, bool shared, bool general);
template <>
const void* kernel_function<3>(int potential, int lanes, bool shared, bool general);

}  // namespace amorph::engine::device
