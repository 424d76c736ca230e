// As much of CUDA's runtime as gpu.cc uses, on the processor: so that all of the engine's GPU half
// but the device itself can be run where there is no GPU. Memory "of the GPU" comes filled with
// NaN; a stream's kernel runs in a thread of its own, one block after another, and whatever is
// asked of the stream meanwhile waits for it, but for cudaStreamQuery.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <thread>

enum cudaError_t {
    cudaSuccess,
    cudaErrorMemoryAllocation,
    cudaErrorLaunchTimeout,
    cudaErrorInsufficientDriver,
    cudaErrorNoDevice,
    cudaErrorNoKernelImageForDevice,
    cudaErrorUnsupportedPtxVersion,
    cudaErrorNotReady,
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost };
enum cudaDeviceAttr {
    cudaDevAttrMaxSharedMemoryPerBlockOptin,
    cudaDevAttrMaxSharedMemoryPerMultiprocessor,
    cudaDevAttrReservedSharedMemoryPerBlock,
    cudaDevAttrMultiProcessorCount,
};
enum cudaFuncAttribute {
    cudaFuncAttributeMaxDynamicSharedMemorySize,
    cudaFuncAttributePreferredSharedMemoryCarveout,
};
constexpr int cudaSharedmemCarveoutMaxShared = 100;
constexpr unsigned cudaHostAllocMapped = 2;
constexpr unsigned cudaStreamNonBlocking = 1;

struct dim3 {
    unsigned x;
    explicit dim3(unsigned n) : x(n) {}
};
struct cudaFuncAttributes {};
struct cudaDeviceProp {
    char name[256];
    std::size_t totalGlobalMem;
    int major, minor, multiProcessorCount;
};

namespace emulated {

// An H100's and H200's limits of shared memory, and few multiprocessors: launches of many blocks
// take time here, and none beside another.
constexpr int shared_per_block = 227 * 1024;
constexpr int shared_per_multiprocessor = 228 * 1024;
constexpr int multiprocessors = 2;
// Threads of a block, whatever the plan has: what is computed does not depend on their number.
constexpr int threads = 32;

struct Stream {
    std::thread kernel;
    std::atomic<bool> busy = false;
    void wait() {
        if (kernel.joinable()) kernel.join();
    }
};

}  // namespace emulated

using cudaStream_t = emulated::Stream*;

inline const char* cudaGetErrorName(cudaError_t) { return "an emulated error"; }
inline const char* cudaGetErrorString(cudaError_t) { return "there is no GPU"; }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }

template <class T>
cudaError_t cudaMalloc(T** data, std::size_t bytes) {
    *data = static_cast<T*>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
    if (*data == nullptr) return cudaErrorMemoryAllocation;
    std::memset(static_cast<void*>(*data), 0xff, bytes);
    return cudaSuccess;
}
inline cudaError_t cudaFree(void* data) {
    std::free(data);
    return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind,
                                   cudaStream_t stream) {
    stream->wait();
    if (bytes > 0) std::memcpy(to, from, bytes);
    return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
    stream->wait();
    std::memset(to, value, bytes);
    return cudaSuccess;
}
inline cudaError_t cudaHostAlloc(void** data, std::size_t bytes, unsigned) {
    *data = std::malloc(bytes);
    return cudaSuccess;
}
inline cudaError_t cudaHostGetDevicePointer(void** seen, void* host, unsigned) {
    *seen = host;
    return cudaSuccess;
}
inline cudaError_t cudaFreeHost(void* data) {
    std::free(data);
    return cudaSuccess;
}

inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
    *stream = new emulated::Stream;
    return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    stream->wait();
    return cudaSuccess;
}
inline cudaError_t cudaStreamQuery(cudaStream_t stream) {
    return stream->busy.load() ? cudaErrorNotReady : cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    stream->wait();
    delete stream;
    return cudaSuccess;
}

inline cudaError_t cudaGetDeviceCount(int* count) {
    *count = 1;
    return cudaSuccess;
}
inline cudaError_t cudaGetDevice(int* device) {
    *device = 0;
    return cudaSuccess;
}
inline cudaError_t cudaSetDevice(int device) {
    return device == 0 ? cudaSuccess : cudaErrorNoDevice;
}
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int) {
    switch (which) {
        case cudaDevAttrMaxSharedMemoryPerBlockOptin:
            *value = emulated::shared_per_block;
            break;
        case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
            *value = emulated::shared_per_multiprocessor;
            break;
        case cudaDevAttrReservedSharedMemoryPerBlock:
            *value = 1024;
            break;
        case cudaDevAttrMultiProcessorCount:
            *value = emulated::multiprocessors;
            break;
    }
    return cudaSuccess;
}
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
    std::strcpy(p->name, "emulated on the processor");
    p->totalGlobalMem = std::size_t(1) << 30;
    p->major = p->minor = 0;
    p->multiProcessorCount = emulated::multiprocessors;
    return cudaSuccess;
}
inline cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
    *free = *total = std::size_t(1) << 30;
    return cudaSuccess;
}
inline cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }
inline cudaError_t cudaFuncGetAttributes(cudaFuncAttributes*, const void*) { return cudaSuccess; }
inline cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int,
                                                                 std::size_t shared) {
    *blocks = int(emulated::shared_per_multiprocessor / (shared + 1024));
    return cudaSuccess;
}
// In emulated_cuda.cc, which knows what the kernels take.
cudaError_t cudaLaunchKernel(const void* function, dim3 blocks, dim3 threads, void** arguments,
                             std::size_t shared, cudaStream_t stream);
