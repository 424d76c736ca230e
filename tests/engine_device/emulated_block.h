// As much of CUDA as BlockTeam uses, on threads of the processor: so that a block's own code can be
// run where there is no GPU.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#define AMORPH_EMULATED_BLOCK
#define __device__

namespace emulated {

// How one who waits lets others go on.
inline void (*pass)() = [] { std::this_thread::yield(); };

class Barrier {
  public:
    explicit Barrier(int size) : size_(size) {}
    void wait() {
        const unsigned round = round_.load();
        if (arrived_.fetch_add(1) + 1 == size_) {
            arrived_.store(0);
            round_.fetch_add(1);
            return;
        }
        while (round_.load() == round) pass();
    }

  private:
    int size_;
    std::atomic<int> arrived_ = 0;
    std::atomic<unsigned> round_ = 0;
};

struct Warp {
    std::mutex mutex;
    std::map<unsigned, std::unique_ptr<Barrier>> barriers;  // by the lanes that meet
    double slots[32];

    void wait(unsigned mask) {
        Barrier* barrier;
        {
            const std::lock_guard<std::mutex> lock(mutex);
            auto& held = barriers[mask];
            if (!held) held = std::make_unique<Barrier>(__builtin_popcount(mask));
            barrier = held.get();
        }
        barrier->wait();
    }
};

struct Block {
    explicit Block(int threads) : barrier(threads), warps(std::size_t(threads) / 32) {}
    Barrier barrier;
    std::atomic<int> raised = 0;
    std::vector<Warp> warps;
};

struct Index {
    unsigned x;
};

inline thread_local Block* block = nullptr;
// Of the block that runs, where blocks run one after another.
inline std::vector<char> shared_memory;

}  // namespace emulated

inline thread_local emulated::Index threadIdx;
inline thread_local emulated::Index blockIdx;
inline emulated::Index blockDim;

inline void __syncthreads() { emulated::block->barrier.wait(); }
inline int __syncthreads_or(int value) {
    if (value != 0) emulated::block->raised.store(1);
    __syncthreads();
    const int result = emulated::block->raised.load();
    __syncthreads();
    emulated::block->raised.store(0);
    __syncthreads();
    return result;
}
inline void __syncwarp(unsigned mask = 0xffffffffu) {
    emulated::block->warps[threadIdx.x / 32].wait(mask);
}
template <class T>
T emulated_exchange(unsigned mask, T value, unsigned from) {
    emulated::Warp& warp = emulated::block->warps[threadIdx.x / 32];
    warp.slots[threadIdx.x % 32] = double(value);
    warp.wait(mask);
    const T result = (mask >> from & 1u) != 0 ? T(warp.slots[from]) : T(-12345);
    warp.wait(mask);
    return result;
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int step) {
    return emulated_exchange(mask, value, threadIdx.x % 32 ^ unsigned(step));
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, int step) {
    const unsigned lane = threadIdx.x % 32;
    return emulated_exchange(mask, value, lane >= unsigned(step) ? lane - unsigned(step) : lane);
}
template <class T>
T atomicAdd(T* p, T value) {
    return std::atomic_ref<T>(*p).fetch_add(value);
}
inline int atomicMax(int* p, int value) {
    std::atomic_ref<int> at(*p);
    int old = at.load();
    while (old < value && !at.compare_exchange_weak(old, value)) {
    }
    return old;
}
