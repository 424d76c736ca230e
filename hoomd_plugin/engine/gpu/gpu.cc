#include "gpu.h"

#ifndef AMORPH_CUDA

namespace amorph::engine {

bool gpu_available(std::string& why_not) {
    why_not = "this build has no CUDA: build with a CUDA compiler, or -DAMORPH_CUDA=ON to insist";
    return false;
}

std::vector<GpuDevice> gpu_devices() { return {}; }

bool run_replicas_gpu(const Replicas&, const Work&, ReplicaResult*, double*,
                      const std::function<bool(std::int64_t)>&, const GpuSettings&) {
    std::string why_not;
    gpu_available(why_not);
    throw GpuError(why_not);
}

}  // namespace amorph::engine

#else

#include <cuda_runtime_api.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <new>
#include <thread>
#include <utility>

#include "cases.h"
#include "kernels.cuh"
#include "pack.h"
#include "plan.h"

namespace amorph::engine {

namespace {

using device::Batch;
using device::Launch;
using device::Packed;
using device::Plan;
using device::Result;

std::string advice(cudaError_t error) {
    switch (error) {
        case cudaErrorMemoryAllocation:
            return "the GPU's memory is taken: end other programs on it, have JAX take less "
                   "(XLA_PYTHON_CLIENT_PREALLOCATE=false)";
        case cudaErrorLaunchTimeout:
            return "the GPU serves a display, which ends long kernels: use fewer replicas a call, "
                   "or another GPU";
        case cudaErrorInsufficientDriver:
            return "there is no NVIDIA driver, or one older than the CUDA this was built with: "
                   "install it";
        case cudaErrorNoDevice:
            return "no NVIDIA GPU is visible: see nvidia-smi and CUDA_VISIBLE_DEVICES";
        case cudaErrorNoKernelImageForDevice:
        case cudaErrorUnsupportedPtxVersion:
            return "this build has no code for the GPU: set CMAKE_CUDA_ARCHITECTURES to its "
                   "compute "
                   "capability";
        default:
            return "run on the CPU, and please report this";
    }
}

[[noreturn]] void fail(cudaError_t error, const std::string& what) {
    throw GpuError(what + " failed: " + cudaGetErrorName(error) + ", " + cudaGetErrorString(error) +
                   " (" + advice(error) + ")");
}

void check(cudaError_t error, const char* what) {
    if (error == cudaSuccess) return;
    cudaGetLastError();  // so that a later call is not blamed for it
    fail(error, what);
}

template <class T>
class DeviceArray {
  public:
    explicit DeviceArray(std::size_t count) {
        void* data = nullptr;
        if (count > 0) check(cudaMalloc(&data, count * sizeof(T)), "taking memory of the GPU");
        data_ = static_cast<T*>(data);
    }
    DeviceArray(const std::vector<T>& values, cudaStream_t stream) : DeviceArray(values.size()) {
        upload(values.data(), values.size(), stream);
    }
    ~DeviceArray() { cudaFree(data_); }
    DeviceArray(const DeviceArray&) = delete;
    DeviceArray& operator=(const DeviceArray&) = delete;
    T* data() const { return data_; }
    void upload(const T* from, std::size_t count, cudaStream_t stream) {
        if (count == 0) return;
        check(cudaMemcpyAsync(data_, from, count * sizeof(T), cudaMemcpyHostToDevice, stream),
              "copying to the GPU");
    }
    void download(T* to, std::size_t count, cudaStream_t stream, std::size_t from = 0) const {
        check(cudaMemcpyAsync(to, data_ + from, count * sizeof(T), cudaMemcpyDeviceToHost, stream),
              "copying from the GPU");
    }

  private:
    T* data_ = nullptr;
};

// What host and kernel tell each other while it runs: in the host's memory, seen by both.
class Signals {
  public:
    Signals() {
        void* host = nullptr;
        check(cudaHostAlloc(&host, sizeof(Words), cudaHostAllocMapped), "pinning host memory");
        host_ = new (host) Words{};
        void* seen = nullptr;
        const cudaError_t error = cudaHostGetDevicePointer(&seen, host, 0);
        if (error != cudaSuccess) cudaFreeHost(host);
        check(error, "mapping host memory");
        device_ = static_cast<Words*>(seen);
    }
    ~Signals() { cudaFreeHost(host_); }
    Signals(const Signals&) = delete;
    Signals& operator=(const Signals&) = delete;
    void stop() { host_->stop = 1; }
    unsigned long long done() const { return host_->done; }
    void reset_done() { host_->done = 0; }
    const volatile std::int32_t* device_stop() const { return &device_->stop; }
    volatile unsigned long long* device_done() const { return &device_->done; }

  private:
    struct Words {
        volatile unsigned long long done = 0;
        volatile std::int32_t stop = 0;
    };
    Words* host_ = nullptr;
    Words* device_ = nullptr;
};

class Stream {
  public:
    Stream() {
        check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
    }
    ~Stream() { cudaStreamDestroy(stream_); }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    operator cudaStream_t() const { return stream_; }

  private:
    cudaStream_t stream_ = nullptr;
};

// The thread's GPU for as long as it lives.
class OnDevice {
  public:
    explicit OnDevice(int device) {
        check(cudaGetDevice(&before_), "asking for the GPU");
        check(cudaSetDevice(device), "choosing the GPU");
    }
    ~OnDevice() { cudaSetDevice(before_); }
    OnDevice(const OnDevice&) = delete;
    OnDevice& operator=(const OnDevice&) = delete;

  private:
    int before_ = 0;
};

// Ends a kernel that an exception leaves running, before what it works on goes.
class Running {
  public:
    Running(Signals& signals, cudaStream_t stream) : signals_(signals), stream_(stream) {}
    ~Running() {
        if (ended_) return;
        signals_.stop();
        cudaStreamSynchronize(stream_);
    }
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;
    void end() { ended_ = true; }

  private:
    Signals& signals_;
    cudaStream_t stream_;
    bool ended_ = false;
};

int attribute(cudaDeviceAttr which, int device) {
    int value = 0;
    check(cudaDeviceGetAttribute(&value, which, device), "asking the GPU");
    return value;
}

device::DeviceLimits limits_of(int index) {
    constexpr int static_bytes = 256;  // a team's own
    device::DeviceLimits limits{};
    limits.shared_per_block =
        attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, index) - static_bytes;
    limits.shared_per_multiprocessor =
        attribute(cudaDevAttrMaxSharedMemoryPerMultiprocessor, index);
    limits.shared_reserved =
        attribute(cudaDevAttrReservedSharedMemoryPerBlock, index) + static_bytes;
    return limits;
}

template <int D, int... P>
const void* kernel_function(std::integer_sequence<int, P...>, int potential, int lanes, bool shared,
                            bool general) {
    using Find = const void* (*)(int, bool, bool);
    static constexpr Find all[] = {device::kernel_of<D, device::compiled_as<P>()>...};
    return all[potential](lanes, shared, general);
}

// The kernel of a potential (index in potentials::All): see device::kernel_of.
const void* kernel_function(int dimension, int potential, int lanes, bool shared, bool general) {
    constexpr std::make_integer_sequence<int, potentials::All::size> potentials{};
    return dimension == 2 ? kernel_function<2>(potentials, potential, lanes, shared, general)
                          : kernel_function<3>(potentials, potential, lanes, shared, general);
}

// A kernel made ready for a plan, and how many of its blocks the GPU holds at a time.
struct Prepared {
    Plan plan;
    const void* function;
    int blocks;
};

Prepared prepare(const Packed& packed, const GpuSettings& settings, int least_capacity) {
    Prepared p{};
    const device::DeviceLimits limits = limits_of(settings.device);
    p.plan = device::make_plan(packed.shape, limits, least_capacity);
    p.function = kernel_function(packed.dimension, packed.potential, p.plan.lanes, p.plan.shared,
                                 packed.general);
    // The most there is, not what the plan takes: other threads may be at the same kernel.
    check(cudaFuncSetAttribute(p.function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               int(limits.shared_per_block)),
          "asking for shared memory");
    if (p.plan.shared)
        check(cudaFuncSetAttribute(p.function, cudaFuncAttributePreferredSharedMemoryCarveout,
                                   cudaSharedmemCarveoutMaxShared),
              "asking for shared memory");
    int blocks = 0;
    check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, p.function, p.plan.threads,
                                                        p.plan.layout.shared_bytes),
          "asking how many replicas fit the GPU");
    if (blocks == 0)
        throw GpuError("a replica does not fit a multiprocessor of this GPU: use the CPU");
    p.blocks = blocks * attribute(cudaDevAttrMultiProcessorCount, settings.device);
    return p;
}

std::size_t free_memory() {
    std::size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total), "asking for the GPU's memory");
    return free;
}

class Runner {
  public:
    Runner(const Replicas& replicas, const Trajectory& trajectory, const Packed& packed,
           ReplicaResult* results, double* forces, const std::function<bool(std::int64_t)>& poll,
           const GpuSettings& settings)
        : replicas_(replicas),
          trajectory_(trajectory),
          packed_(packed),
          results_(results),
          forces_(forces),
          poll_(poll),
          settings_(settings),
          coordinates_(std::size_t(replicas.n_particles) * std::size_t(replicas.dimension)),
          order_(packed.order, stream_),
          type_(packed.type, stream_),
          first_of_type_(packed.first_of_type, stream_),
          boxes_(packed.boxes, stream_),
          coefficients_(packed.coefficients, stream_),
          r_cut_(packed.r_cut, stream_),
          cells_(packed.cells, stream_),
          cells_at_(packed.cells_at, stream_),
          scales_(packed.scales, stream_),
          bond_first_(packed.bond_first, stream_),
          bonds_(packed.bonds, stream_),
          schedules_(packed.schedules, stream_),
          host_stages_(device::stages_with(packed, schedules_.data())),
          stages_(host_stages_, stream_),
          counters_(2) {}

    bool run() {
        const Prepared prepared = prepare(packed_, settings_, 0);
        const std::int64_t piece = piece_size(prepared);
        for (std::int64_t from = 0; from < replicas_.n_replicas; from += piece)
            if (!run_piece(prepared, from, std::min(piece, replicas_.n_replicas - from)))
                return false;
        return true;
    }

  private:
    // As many replicas as have room in the memory that is free.
    std::int64_t piece_size(const Prepared& prepared) const {
        const double room = settings_.memory_share * double(free_memory()) -
                            double(std::min<std::int64_t>(prepared.blocks, replicas_.n_replicas)) *
                                double(prepared.plan.layout.global_bytes);
        const double vectors =
            1.0 + (forces_ != nullptr) + (replicas_.velocities != nullptr) +
            double(trajectory_.frames) * (1.0 + (trajectory_.velocities != nullptr));
        const double each =
            double(coordinates_) * 8.0 * vectors + sizeof(Result) + sizeof(std::int64_t);
        if (room < each) fail(cudaErrorMemoryAllocation, "finding room for a replica on the GPU");
        return std::int64_t(std::min(room / each, double(replicas_.n_replicas)));
    }

    // False when `poll` asked to stop.
    bool run_piece(const Prepared& first, std::int64_t from, std::int64_t count) {
        const auto n = std::size_t(count);
        const std::size_t coordinates = n * coordinates_;
        const std::size_t offset = std::size_t(from) * coordinates_;
        DeviceArray<double> positions(coordinates);
        positions.upload(replicas_.positions + offset, coordinates, stream_);
        // Forces and frames that are not reached stay as the caller has them.
        DeviceArray<double> forces(forces_ != nullptr ? coordinates : 0);
        if (forces_ != nullptr) forces.upload(forces_ + offset, coordinates, stream_);
        DeviceArray<double> velocities(replicas_.velocities != nullptr ? coordinates : 0);
        if (replicas_.velocities != nullptr)
            velocities.upload(replicas_.velocities + offset, coordinates, stream_);
        const std::size_t kept = std::size_t(trajectory_.frames) * coordinates;
        const std::size_t kept_before = std::size_t(trajectory_.frames) * offset;
        DeviceArray<double> frames(trajectory_.positions != nullptr ? kept : 0);
        if (trajectory_.positions != nullptr)
            frames.upload(trajectory_.positions + kept_before, kept, stream_);
        DeviceArray<double> frames_v(trajectory_.velocities != nullptr ? kept : 0);
        if (trajectory_.velocities != nullptr)
            frames_v.upload(trajectory_.velocities + kept_before, kept, stream_);
        // What a replica that never runs is left with.
        Result untouched{};
        untouched.outcome.status = Status::interrupted;
        untouched.outcome.energy = untouched.outcome.max_force =
            std::numeric_limits<double>::quiet_NaN();
        for (double& v : untouched.outcome.virial) v = untouched.outcome.energy;
        std::vector<Result> results(n, untouched);
        DeviceArray<Result> device_results(results, stream_);

        Launch launch{};
        Batch& batch = launch.batch;
        batch = packed_.batch;
        const std::int64_t types = batch.types_each ? from : 0;
        batch.order = order_.data() + types * batch.n_particles;
        batch.type = type_.data() + types * batch.n_particles;
        batch.first_of_type = first_of_type_.data() + types * (batch.n_types + 1);
        batch.boxes = boxes_.data() + (batch.box_each ? 9 * from : 0);
        const std::int64_t pairs = std::int64_t(batch.n_types) * batch.n_types;
        const std::int64_t tables = batch.table_each ? from : 0;
        batch.coefficients = coefficients_.data() + tables * pairs * packed_.shape.n_coefficients;
        batch.r_cut = r_cut_.data() + tables * pairs;
        batch.cells = cells_.data();
        batch.cells_at = cells_at_.data() + (packed_.cells_at.empty() ? 0 : tables);
        batch.scales = scales_.data() + (batch.scales_each ? from : 0);
        if (!packed_.bond_first.empty())
            batch.bond_first =
                bond_first_.data() + (batch.bonds_each ? from * (batch.n_particles + 1) : 0);
        batch.bonds = bonds_.data();
        batch.stages = stages_.data();
        batch.key = batch.key.of(from);
        batch.trajectory.positions = frames.data();
        batch.trajectory.velocities = frames_v.data();
        batch.positions = positions.data();
        batch.velocities = velocities.data();
        batch.forces = forces.data();
        batch.results = device_results.data();
        batch.stop = signals_.device_stop();
        launch.next = counters_.data();
        launch.finished = counters_.data() + 1;
        launch.done = signals_.device_done();

        // Replicas whose rows outgrew the list run again, with room for the longest of them.
        Prepared prepared = first;
        std::vector<std::int64_t> again;
        bool finished = true;
        std::int64_t done = from;
        while (true) {
            const DeviceArray<std::int64_t> queue(again, stream_);
            launch.queue = queue.data();
            launch.queue_length = again.empty() ? n : again.size();
            finished = run_kernel(prepared, launch, done);
            device_results.download(results.data(), n, stream_);
            check(cudaStreamSynchronize(stream_), "copying from the GPU");
            again.clear();
            int longest = 0;
            for (std::size_t r = 0; r < n; ++r) {
                if (results[r].row_needed == 0) continue;
                again.push_back(std::int64_t(r));
                longest = std::max(longest, int(results[r].row_needed));
                results[r] = untouched;
            }
            if (again.empty() || !finished) break;
            done = from + count - std::int64_t(again.size());
            device_results.upload(results.data(), n, stream_);
            prepared = prepare(packed_, settings_, longest + longest / 4);
        }

        if (batch.n_stages > 0) {
            positions.download(replicas_.positions + offset, coordinates, stream_);
            if (replicas_.velocities != nullptr)
                velocities.download(replicas_.velocities + offset, coordinates, stream_);
        }
        if (forces_ != nullptr) forces.download(forces_ + offset, coordinates, stream_);
        if (trajectory_.positions != nullptr)
            frames.download(trajectory_.positions + kept_before, kept, stream_);
        if (trajectory_.velocities != nullptr)
            frames_v.download(trajectory_.velocities + kept_before, kept, stream_);
        std::vector<Box> boxes(batch.box_each ? n : 0);
        static_assert(sizeof(Box) == 9 * sizeof(double));
        if (batch.box_each)
            boxes_.download(&boxes.front().h[0][0], 9 * n, stream_, std::size_t(9 * from));
        check(cudaStreamSynchronize(stream_), "copying from the GPU");
        if (batch.n_stages > 0) std::copy(boxes.begin(), boxes.end(), replicas_.boxes + from);
        for (std::size_t r = 0; r < n; ++r)
            results_[std::size_t(from) + r] = {results[r].outcome, results[r].seconds};
        return finished;
    }

    bool run_kernel(const Prepared& prepared, Launch& launch, std::int64_t done_before) {
        launch.batch.layout = prepared.plan.layout;
        const std::uint64_t arena = prepared.plan.layout.global_bytes;
        std::uint64_t blocks =
            std::min<std::uint64_t>(std::uint64_t(prepared.blocks), launch.queue_length);
        if (arena > 0)
            blocks = std::clamp<std::uint64_t>(
                std::uint64_t(settings_.memory_share * double(free_memory())) / arena, 1, blocks);
        const DeviceArray<char> arenas(std::size_t(blocks * arena));
        launch.arenas = arenas.data();
        signals_.reset_done();
        check(cudaMemsetAsync(counters_.data(), 0, 2 * sizeof(unsigned long long), stream_),
              "clearing the queue");
        Running running(signals_, stream_);
        void* arguments[] = {&launch};
        check(cudaLaunchKernel(prepared.function, dim3(unsigned(blocks)),
                               dim3(unsigned(prepared.plan.threads)), arguments,
                               prepared.plan.layout.shared_bytes, stream_),
              "starting the kernel");
        bool stopped = false;
        constexpr auto between_polls = std::chrono::milliseconds(100);
        auto next_poll = std::chrono::steady_clock::now() + between_polls;
        while (true) {
            const cudaError_t state = cudaStreamQuery(stream_);
            if (state == cudaSuccess) break;
            if (state != cudaErrorNotReady) check(state, "the kernel");
            std::this_thread::sleep_for(std::chrono::microseconds(200));
            if (stopped || std::chrono::steady_clock::now() < next_poll) continue;
            next_poll += between_polls;
            if (!poll_(done_before + std::int64_t(signals_.done()))) {
                signals_.stop();
                stopped = true;
            }
        }
        running.end();
        return !stopped;
    }

    const Replicas& replicas_;
    const Trajectory& trajectory_;
    const Packed& packed_;
    ReplicaResult* results_;
    double* forces_;
    const std::function<bool(std::int64_t)>& poll_;
    const GpuSettings& settings_;
    std::size_t coordinates_;
    Stream stream_;
    Signals signals_;
    DeviceArray<std::uint16_t> order_, type_;
    DeviceArray<std::int32_t> first_of_type_;
    DeviceArray<double> boxes_, coefficients_, r_cut_, cells_;
    DeviceArray<device::CellsAt> cells_at_;
    DeviceArray<device::Scales> scales_;
    DeviceArray<std::int64_t> bond_first_;
    DeviceArray<device::BondEnd> bonds_;
    DeviceArray<double> schedules_;
    std::vector<Stage> host_stages_;
    DeviceArray<Stage> stages_;
    DeviceArray<unsigned long long> counters_;
};

}  // namespace

bool gpu_available(std::string& why_not) {
    int count = 0;
    cudaError_t error = cudaGetDeviceCount(&count);
    if (error == cudaSuccess && count == 0) error = cudaErrorNoDevice;
    if (error == cudaSuccess) {
        cudaFuncAttributes attributes{};
        error = cudaFuncGetAttributes(&attributes, kernel_function(2, 0, 1, true, false));
    }
    if (error == cudaSuccess) return true;
    cudaGetLastError();
    why_not = std::string(cudaGetErrorName(error)) + ": " + advice(error);
    return false;
}

std::vector<GpuDevice> gpu_devices() {
    std::vector<GpuDevice> devices;
    std::string why_not;
    if (!gpu_available(why_not)) return devices;
    int count = 0;
    check(cudaGetDeviceCount(&count), "counting the GPUs");
    for (int k = 0; k < count; ++k) {
        cudaDeviceProp p{};
        check(cudaGetDeviceProperties(&p, k), "asking the GPU");
        devices.push_back(
            {k, p.name, std::int64_t(p.totalGlobalMem), p.major, p.minor, p.multiProcessorCount});
    }
    return devices;
}

bool run_replicas_gpu(const Replicas& replicas, const Work& work, ReplicaResult* results,
                      double* forces, const std::function<bool(std::int64_t)>& poll,
                      const GpuSettings& settings) {
    const Packed packed = device::pack(replicas, work);
    std::string why_not;
    if (!gpu_available(why_not)) throw GpuError("no GPU to run on: " + why_not);
    if (replicas.n_replicas == 0) return true;
    const OnDevice device(settings.device);
    return Runner(replicas, work.trajectory, packed, results, forces, poll, settings).run();
}

}  // namespace amorph::engine

#endif
