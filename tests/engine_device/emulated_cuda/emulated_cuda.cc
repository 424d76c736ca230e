// The emulated launch of a kernel: blocks one after another.
#include <cuda_runtime_api.h>
#include <setjmp.h>
#include <ucontext.h>

#include <memory>
#include <vector>

#include "../../../hoomd_plugin/engine/gpu/kernels.cuh"
#include "../emulated_block.h"

namespace {

using amorph::engine::device::Launch;
using Kernel = void (*)(Launch);

// The threads of a block as coroutines of one thread of the processor, which takes turns where they
// wait for each other. Each begins in a context of its own; from then on jumps lead from one to the
// other, which leave the signal mask alone, and so take nanoseconds.
class Coroutines {
  public:
    static void run(Kernel kernel, const Launch& launch, unsigned number) {
        emulated::Block block(emulated::threads);
        Coroutines all(kernel, launch);
        emulated::block = &block;
        blockIdx.x = number;
        running = &all;
        emulated::pass = [] { running->next(); };
        if (_setjmp(all.outside_) == 0) all.go_to(0);
    }

  private:
    static constexpr std::size_t stack = 256 * 1024;
    static inline Coroutines* running = nullptr;

    Coroutines(Kernel kernel, const Launch& launch)
        : kernel_(kernel),
          launch_(launch),
          left_(emulated::threads),
          ended_(emulated::threads),
          begun_(emulated::threads),
          contexts_(emulated::threads),
          jumps_(emulated::threads),
          stacks_(new char[emulated::threads * stack]) {
        for (std::size_t k = 0; k < contexts_.size(); ++k) {
            getcontext(&contexts_[k]);
            contexts_[k].uc_stack = {stacks_.get() + k * stack, 0, stack};
            contexts_[k].uc_link = nullptr;
            makecontext(&contexts_[k], &Coroutines::one, 0);
        }
    }
    static void one() {
        running->kernel_(running->launch_);
        running->ended_[threadIdx.x] = true;
        if (--running->left_ == 0) _longjmp(running->outside_, 1);
        running->next();
    }
    void next() {
        const unsigned from = threadIdx.x;
        unsigned to = from;
        do to = (to + 1) % unsigned(emulated::threads);
        while (ended_[to]);
        if (to == from) return;
        if (_setjmp(jumps_[from].buffer) == 0) go_to(to);
    }
    [[noreturn]] void go_to(unsigned to) {
        threadIdx.x = to;
        if (begun_[to]) _longjmp(jumps_[to].buffer, 1);
        begun_[to] = true;
        setcontext(&contexts_[to]);
        std::abort();
    }

    struct Jump {
        jmp_buf buffer;
    };

    Kernel kernel_;
    const Launch& launch_;
    int left_;
    std::vector<bool> ended_, begun_;
    std::vector<ucontext_t> contexts_;
    std::vector<Jump> jumps_;
    std::unique_ptr<char[]> stacks_;
    jmp_buf outside_;
};

}  // namespace

cudaError_t cudaLaunchKernel(const void* function, dim3 blocks, dim3, void** arguments,
                             std::size_t shared, cudaStream_t stream) {
    const auto kernel = reinterpret_cast<Kernel>(const_cast<void*>(function));
    const Launch launch = *static_cast<const Launch*>(arguments[0]);
    stream->wait();
    stream->busy = true;
    stream->kernel = std::thread([=] {
        blockDim.x = unsigned(emulated::threads);
        // Filled with NaN, and with indices out of bounds.
        emulated::shared_memory.assign(shared, char(0xff));
        for (unsigned b = 0; b < blocks.x; ++b) Coroutines::run(kernel, launch, b);
        stream->busy = false;
    });
    return cudaSuccess;
}
