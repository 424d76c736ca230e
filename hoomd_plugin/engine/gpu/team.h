// Teams: the threads that work on one replica together. The algorithms of this folder are templates
// over them, so that the same code runs as a block of a GPU and, for tests, as one or several
// threads of the processor.
//
// A team deals out items: particles, or columns (particles times `L` lanes, column = particle * L
// + lane). Columns go in groups of 32, a warp's worth, and totals are formed in a fixed order over
// lanes, groups and the groups' totals: a result depends on the items alone, not on the team.
//
//   rank(), size()        this thread's place among the team's
//   sync()                a barrier
//   any(flag)             whether any thread's flag was raised; a barrier
//   broadcast(value)      the first thread's value; ends with a barrier
//   largest(count)        the largest of the threads' counts; ends with a barrier
//   each(n, f)            f(i) for n items; no barrier
//   columns<L>(n, f)      f(i, lane) for the columns of n particles; no barrier
//   rows<L>(n, f)         f(i, lanes) for n particles; ends with a barrier
//   reduce<L, T>(n, f)    the totals of f(i, lanes), of type T, over n particles, for every thread;
//                         a barrier, after which what f wrote can be read
//   scan(a, n)            exclusive prefix sums in place; barriers before and after
//   fetch_add(p)          an atomic increment
//   use(partials, groups) where `reduce` keeps the totals of so many groups: see partial_doubles
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <thread>
#include <vector>

#include "../../potentials/real.h"

// Functions that are called, not inlined: what is not worth the code of another copy. What they get
// by reference lives in memory all through the caller.
#if defined(__CUDACC__)
#define AMORPH_APART __noinline__
#else
#define AMORPH_APART
#endif

namespace amorph::engine::device {

constexpr int group_size = 32;

// Of two doubles that are not negative the larger, by their bits: a NaN counts as the largest in
// either place, so that all threads agree, and the GPU's double-precision units are left alone.
AMORPH_HOSTDEVICE inline double later_in_order(double a, double b) {
#if defined(__CUDA_ARCH__)
    return static_cast<unsigned long long>(__double_as_longlong(a)) <
                   static_cast<unsigned long long>(__double_as_longlong(b))
               ? b
               : a;
#else
    return std::bit_cast<std::uint64_t>(a) < std::bit_cast<std::uint64_t>(b) ? b : a;
#endif
}

// Sums, then maxima of values that are not negative, found together.
template <int Sums, int Maxima>
struct Totals {
    static constexpr int size = Sums + Maxima;
    double value[size];

    AMORPH_HOSTDEVICE Totals() {
        for (double& v : value) v = 0.0;
    }
    AMORPH_HOSTDEVICE void add(int k, double v) {
        value[k] = k < Sums ? value[k] + v : later_in_order(value[k], v);
    }
    AMORPH_HOSTDEVICE void add(const Totals& other) {
        for (int k = 0; k < size; ++k) add(k, other.value[k]);
    }
};

constexpr int most_totals = 8;

// Doubles that `reduce` needs. Two sets in turn, so that a thread may enter the next reduction
// while another still reads the last one's.
AMORPH_HOSTDEVICE constexpr int group_count(int columns) {
    return (columns + group_size - 1) / group_size;
}
AMORPH_HOSTDEVICE constexpr int partial_doubles(int columns) {
    return 2 * most_totals * group_count(columns);
}

// All lanes of a particle, one after the other.
template <int L>
struct HostLanes {
    // out = the sum over lanes of what f(lane, out) gives
    template <int Q, class F>
    void sum(double* out, F f) const {
        double part[L][Q] = {};
        for (int lane = 0; lane < L; ++lane) f(lane, part[lane]);
        for (int step = 1; step < L; step *= 2)
            for (int lane = 0; lane < L; lane += 2 * step)
                for (int q = 0; q < Q; ++q) part[lane][q] += part[lane + step][q];
        for (int q = 0; q < Q; ++q) out[q] = part[0][q];
    }
    bool leads() const { return true; }
};

// What the host's teams share; `Team` gives rank(), size(), sync() and flag(parity, rank).
template <class Team>
class HostTeam {
  public:
    void use(double* partials, int groups) {
        partials_ = partials;
        stride_ = most_totals * groups;
    }

    bool any(bool raised) {
        flag_parity_ ^= 1;
        team().flag(flag_parity_, team().rank()) = raised;
        team().sync();
        bool result = false;
        for (int r = 0; r < team().size(); ++r) result |= team().flag(flag_parity_, r) != 0;
        return result;
    }
    int broadcast(int value) {
        flag_parity_ ^= 1;
        if (team().rank() == 0) team().flag(flag_parity_, 0) = value;
        team().sync();
        value = team().flag(flag_parity_, 0);
        team().sync();
        return value;
    }
    int largest(int count) {
        flag_parity_ ^= 1;
        team().flag(flag_parity_, team().rank()) = count;
        team().sync();
        for (int r = 0; r < team().size(); ++r) {
            const int other = team().flag(flag_parity_, r);
            if (other > count) count = other;
        }
        team().sync();
        return count;
    }
    template <class F>
    void each(int n, F f) {
        for (int i = team().rank(); i < n; i += team().size()) f(i);
    }
    template <int L, class F>
    void columns(int n, F f) {
        for (int g = team().rank(); g < group_count(n * L); g += team().size())
            for (int c = g * group_size; c < (g + 1) * group_size && c < n * L; ++c)
                f(c / L, c % L);
    }
    template <int L, class F>
    void rows(int n, F f) {
        for (int g = team().rank(); g < group_count(n * L); g += team().size())
            for (int s = 0; s < group_size; s += L) {
                const int i = (g * group_size + s) / L;
                if (i < n) f(i, HostLanes<L>{});
            }
        team().sync();
    }
    template <int L, class T, class F>
    T reduce(int n, F f) {
        static_assert(T::size <= most_totals);
        const int groups = group_count(n * L);
        parity_ ^= 1;
        double* const partial = partials_ + parity_ * stride_;
        for (int g = team().rank(); g < groups; g += team().size()) {
            T slots[group_size];
            for (int s = 0; s < group_size; s += L) {
                const int i = (g * group_size + s) / L;
                if (i < n) slots[s] = f(i, HostLanes<L>{});
            }
            const T total = combine(slots);
            for (int k = 0; k < T::size; ++k) partial[k * groups + g] = total.value[k];
        }
        team().sync();
        T slots[group_size];
        for (int g = 0; g < groups; ++g)
            for (int k = 0; k < T::size; ++k) slots[g % group_size].add(k, partial[k * groups + g]);
        return combine(slots);
    }
    void scan(int* a, int n) {
        team().sync();
        if (team().rank() == 0) {
            int sum = 0;
            for (int k = 0; k < n; ++k) {
                const int count = a[k];
                a[k] = sum;
                sum += count;
            }
        }
        team().sync();
    }
    int fetch_add(int* p) { return std::atomic_ref<int>(*p).fetch_add(1); }

  private:
    Team& team() { return static_cast<Team&>(*this); }
    // As a warp's butterfly does it.
    template <class T>
    static T combine(T* slots) {
        for (int step = group_size / 2; step > 0; step /= 2)
            for (int s = 0; s < step; ++s) slots[s].add(slots[s + step]);
        return slots[0];
    }
    double* partials_ = nullptr;
    int stride_ = 0;
    int parity_ = 0;
    int flag_parity_ = 0;
};

// One thread alone.
class SerialTeam : public HostTeam<SerialTeam> {
  public:
    int rank() const { return 0; }
    int size() const { return 1; }
    void sync() const {}
    int& flag(int parity, int) { return flags_[parity]; }

  private:
    int flags_[2] = {};
};

// Threads of the processor that meet at a barrier. Each has its ThreadTeam; the meeting is theirs
// together.
class ThreadTeam : public HostTeam<ThreadTeam> {
  public:
    struct Meeting {
        explicit Meeting(int size) : size(size), flags(2 * std::size_t(size)) {}
        int size;
        std::atomic<int> arrived = 0;
        std::atomic<unsigned> round = 0;
        std::vector<int> flags;
    };
    ThreadTeam(Meeting& meeting, int rank) : meeting_(meeting), rank_(rank) {}
    int rank() const { return rank_; }
    int size() const { return meeting_.size; }
    void sync() {
        const unsigned round = meeting_.round.load();
        if (meeting_.arrived.fetch_add(1) + 1 == meeting_.size) {
            meeting_.arrived.store(0);
            meeting_.round.fetch_add(1);
            return;
        }
        while (meeting_.round.load() == round) std::this_thread::yield();
    }
    int& flag(int parity, int rank) {
        return meeting_.flags[std::size_t(parity * meeting_.size + rank)];
    }

  private:
    Meeting& meeting_;
    int rank_;
};

#if defined(__CUDACC__) || defined(AMORPH_EMULATED_BLOCK)

// One lane of a particle; the others are neighbouring threads of its warp.
template <int L>
struct BlockLanes {
    template <int Q, class F>
    __device__ void sum(double* out, F f) const {
        const int lane = int(threadIdx.x) % L;
        for (int q = 0; q < Q; ++q) out[q] = 0.0;
        f(lane, out);
        if constexpr (L > 1) {
            const unsigned first = (threadIdx.x % group_size) / L * L;
            const unsigned mask = ((1u << L) - 1u) << first;
            __syncwarp(mask);
            for (int step = 1; step < L; step *= 2)
                for (int q = 0; q < Q; ++q) out[q] += __shfl_xor_sync(mask, out[q], step);
        }
    }
    __device__ bool leads() const { return L == 1 || threadIdx.x % L == 0; }
};

// The threads of a block, whole warps of them.
class BlockTeam {
  public:
    struct Storage {
        long long value;
        int count;
        int warp_sum[32];
    };
    __device__ explicit BlockTeam(Storage& storage) : storage_(storage) {}

    __device__ void use(double* partials, int groups) {
        partials_ = partials;
        stride_ = most_totals * groups;
    }
    __device__ int rank() const { return int(threadIdx.x); }
    __device__ int size() const { return int(blockDim.x); }
    __device__ void sync() { __syncthreads(); }
    __device__ bool any(bool raised) { return __syncthreads_or(raised) != 0; }
    __device__ long long broadcast(long long value) {
        if (threadIdx.x == 0) storage_.value = value;
        __syncthreads();
        value = storage_.value;
        __syncthreads();
        return value;
    }
    __device__ int largest(int count) {
        if (threadIdx.x == 0) storage_.count = 0;
        __syncthreads();
        atomicMax(&storage_.count, count);
        __syncthreads();
        count = storage_.count;
        __syncthreads();
        return count;
    }
    template <class F>
    __device__ void each(int n, F f) {
        for (int i = rank(); i < n; i += size()) f(i);
    }
    template <int L, class F>
    __device__ void columns(int n, F f) {
        for (int c = rank(); c < n * L; c += size()) f(c / L, c % L);
    }
    template <int L, class F>
    __device__ void rows(int n, F f) {
        for (int c = rank(); c < n * L; c += size()) f(c / L, BlockLanes<L>{});
        __syncthreads();
    }
    template <int L, class T, class F>
    __device__ T reduce(int n, F f) {
        static_assert(T::size <= most_totals);
        const int groups = group_count(n * L);
        const int lane = rank() % group_size;
        parity_ ^= 1;
        double* const partial = partials_ + parity_ * stride_;
        for (int g = rank() / group_size; g < groups; g += size() / group_size) {
            const int c = g * group_size + lane;
            T total;
            if (c < n * L) {
                const BlockLanes<L> lanes;
                const T own = f(c / L, lanes);
                if (lanes.leads()) total = own;
            }
            __syncwarp();
            combine(total);
            if (lane == 0)
                for (int k = 0; k < T::size; ++k) partial[k * groups + g] = total.value[k];
        }
        __syncthreads();
        // Every warp for itself: cheaper than another barrier.
        T total;
#if defined(__CUDACC__)
#pragma unroll 1
#endif
        for (int g = lane; g < groups; g += group_size)
            for (int k = 0; k < T::size; ++k) total.add(k, partial[k * groups + g]);
        __syncwarp();
        combine(total);
        return total;
    }
    __device__ void scan(int* a, int n) {
        __syncthreads();
        const int lane = rank() % group_size;
        const int share = (n + size() - 1) / size();
        const int from = rank() * share < n ? rank() * share : n;
        const int to = from + share < n ? from + share : n;
        int own = 0;
        for (int k = from; k < to; ++k) own += a[k];
        const int before = inclusive(own) - own;  // within the warp
        if (lane == group_size - 1) storage_.warp_sum[rank() / group_size] = before + own;
        __syncthreads();
        if (rank() < group_size) {
            const int sum = rank() < size() / group_size ? storage_.warp_sum[rank()] : 0;
            const int up_to = inclusive(sum) - sum;
            storage_.warp_sum[rank()] = up_to;
        }
        __syncthreads();
        int sum = storage_.warp_sum[rank() / group_size] + before;
        for (int k = from; k < to; ++k) {
            const int count = a[k];
            a[k] = sum;
            sum += count;
        }
        __syncthreads();
    }
    __device__ int fetch_add(int* p) { return atomicAdd(p, 1); }

  private:
    template <class T>
    __device__ static void combine(T& total) {
        for (int step = group_size / 2; step > 0; step /= 2)
            for (int k = 0; k < T::size; ++k)
                total.add(k, __shfl_xor_sync(0xffffffffu, total.value[k], step));
    }
    __device__ static int inclusive(int value) {
        for (int step = 1; step < group_size; step *= 2) {
            const int other = __shfl_up_sync(0xffffffffu, value, step);
            if (int(threadIdx.x) % group_size >= step) value += other;
        }
        return value;
    }
    Storage& storage_;
    double* partials_ = nullptr;
    int stride_ = 0;
    int parity_ = 0;
};

#endif

}  // namespace amorph::engine::device
