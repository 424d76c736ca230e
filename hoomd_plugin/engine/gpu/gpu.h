// The engine on a GPU: the same work as run_replicas, for whole batches. Without CUDA's headers; in
// a build without CUDA there is no GPU, and the reason says so.
#pragma once

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "../batch.h"

namespace amorph::engine {

struct GpuDevice {
    int index;
    std::string name;
    std::int64_t memory;  // bytes
    int major, minor;     // compute capability
    int multiprocessors;
};

struct GpuSettings {
    int device = 0;
    double memory_share = 0.9;  // of what is free; larger batches go in pieces
};

// A call of CUDA that failed: its name, CUDA's words, and what to do.
class GpuError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// Whether there is a GPU this build can use; if not, why.
bool gpu_available(std::string& why_not);
// Empty where there is none.
std::vector<GpuDevice> gpu_devices();

// As run_replicas, but that FIRE minimises alone (Stage's `newton` is left aside). Results agree
// with the processor's within round-off, do not depend on the rest of the batch, and are bitwise
// the same from run to run on one kind of GPU; `seconds` is what a replica's block took while
// others ran beside it. Throws std::invalid_argument for what the GPU does not do and GpuError
// where CUDA fails.
bool run_replicas_gpu(const Replicas& replicas, const Work& work, ReplicaResult* results,
                      double* forces, const std::function<bool(std::int64_t)>& poll,
                      const GpuSettings& settings = {});

}  // namespace amorph::engine
