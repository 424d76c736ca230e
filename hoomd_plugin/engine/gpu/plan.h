// How a batch is laid out on a device: lanes a particle, threads a block, what lies in shared
// memory. Plain arithmetic, without CUDA.
#pragma once

#include <cstdint>

#include "replica.h"

namespace amorph::engine::device {

// The kernels are compiled for blocks of up to 24 warps, hence for 80 registers a thread: as many
// warps are resident on a multiprocessor, whatever the blocks.
constexpr int most_warps = 24;
constexpr int most_threads = most_warps * group_size;

struct DeviceLimits {
    std::int64_t shared_per_block;  // bytes a block may ask for
    std::int64_t shared_per_multiprocessor;
    std::int64_t shared_reserved;  // that each block takes besides
};

// What must be known of a batch. `row`: neighbours within the largest cutoff, in the densest box.
struct Shape {
    int n_particles;
    int dimension;
    int n_types;
    int n_coefficients;
    double row;
    bool unwrapped = false;  // box vectors taken off positions are counted
};

struct Plan {
    int lanes;
    int threads;
    int blocks_per_multiprocessor;  // as far as shared memory and threads go
    bool shared;                    // all of a replica in shared memory
    Layout layout;
};

// Chosen on paper, for a card with 64 double-precision lanes and 228 KiB of shared memory a
// multiprocessor; to be measured. What a replica's numbers depend on, the lanes, follows from N
// and d alone.
//
//   lanes    as many as give 12 warps in two dimensions (4 up to N = 96, 2 up to 192, else 1), and
//            24 in three (4 up to 192, 2 up to 384), where rows are long and fill the memory.
//   threads  where two blocks are resident up to 12 warps each, else up to 24, in even rounds.
//   memory   all shared; or the list in global memory, read in whole lines and kept in the caches;
//            or the state too, beyond a block's shared memory (with 227 KiB, N > 2,575 in two
//            dimensions, 1,839 in three). That last is for correctness, not for speed: one block
//            makes many rounds over so large a replica.
//
// `least_capacity`: of a column, 0 to choose; it is raised where a list overflowed.
Plan make_plan(const Shape& shape, const DeviceLimits& limits, int least_capacity);

}  // namespace amorph::engine::device
