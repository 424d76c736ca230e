// The persistent kernels of one potential (AMORPH_POTENTIAL, an index in potentials::All) in
// AMORPH_DIMENSION dimensions: one block a replica at a time. Each is compiled apart, side by side.
#include "cases.h"
#include "kernels.cuh"
#include "plan.h"
#include "run.h"

namespace amorph::engine::device {

namespace {

[[maybe_unused]] __device__ unsigned long long nanoseconds() {
    unsigned long long t = 0;
#ifndef AMORPH_EMULATED_BLOCK
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(t));
#endif
    return t;
}

template <class Formula, int D, int L, bool Shared, bool General>
__global__ void __launch_bounds__(most_threads, 1)
    run_kernel(const __grid_constant__ Launch launch) {
#ifdef AMORPH_EMULATED_BLOCK
    char* const shared = emulated::shared_memory.data();
    static BlockTeam::Storage storage;
#else
    extern __shared__ __align__(16) char shared[];
    __shared__ BlockTeam::Storage storage;
#endif
    BlockTeam team(storage);
    char* const global = launch.arenas + blockIdx.x * launch.batch.layout.global_bytes;
    while (true) {
        // Taken from the queue by one thread, for all.
        const bool first = threadIdx.x == 0;
        unsigned long long place = launch.queue_length;
        if (first && *launch.batch.stop == 0) place = atomicAdd(launch.next, 1ull);
        place = static_cast<unsigned long long>(team.broadcast(static_cast<long long>(place)));
        if (place >= launch.queue_length) break;
        const std::int64_t replica =
            launch.queue != nullptr ? launch.queue[place] : std::int64_t(place);
        const unsigned long long start = first ? nanoseconds() : 0;
        run_replica<Formula, D, L, Shared, General>(team, launch.batch, shared, global, replica);
        if (first) {
            launch.batch.results[replica].seconds = 1e-9 * double(nanoseconds() - start);
            *launch.done = atomicAdd(launch.finished, 1ull) + 1;
        }
    }
}

}  // namespace

template <int D, int P>
const void* kernel_of(int lanes, bool shared, bool general) {
    using Formula = FormulaAt<P>;
    return visit_lanes<Formula, D>(lanes, [=](auto of) {
        constexpr int l = decltype(of)::lanes;
        const auto address = [](auto* kernel) { return reinterpret_cast<const void*>(kernel); };
        if (general) return address(run_kernel<Formula, D, l, false, true>);
        return shared ? address(run_kernel<Formula, D, l, true, false>)
                      : address(run_kernel<Formula, D, l, false, false>);
    });
}

// Has it compiled here, unless a potential before it has the same formula.
template <int D, int P, bool Own>
struct Compiled {
    static constexpr auto at = &kernel_of<D, P>;
};
template <int D, int P>
struct Compiled<D, P, false> {};
template struct Compiled<AMORPH_DIMENSION, AMORPH_POTENTIAL,
                         compiled_as<AMORPH_POTENTIAL>() == AMORPH_POTENTIAL>;

}  // namespace amorph::engine::device
