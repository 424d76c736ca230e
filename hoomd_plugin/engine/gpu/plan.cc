#include "plan.h"

#include <algorithm>
#include <cmath>

#include "list.h"

namespace amorph::engine::device {

namespace {

constexpr std::int64_t most_table = 8192;  // bytes of parameters that go to shared memory

Layout lay_out(const Shape& shape, int lanes, int capacity, bool state_shared, bool list_shared) {
    const std::int64_t n = shape.n_particles;
    const std::int64_t d = shape.dimension;
    const std::int64_t columns = n * lanes;
    Layout layout{};
    layout.state_shared = state_shared;
    layout.list_shared = list_shared;
    layout.capacity = capacity;
    // In global memory a row is whole sectors; in shared memory any even number will do.
    layout.columns = int(list_shared ? (columns + 1) / 2 * 2 : (columns + 15) / 16 * 16);
    std::int64_t shared = 0, global = 0;
    const auto take = [](std::int64_t& at, std::int64_t bytes) {
        const std::int64_t here = at;
        at += (bytes + 15) / 16 * 16;
        return here;
    };
    layout.partials = std::uint32_t(take(shared, partial_doubles(int(columns)) * 8));
    layout.box = std::uint32_t(take(shared, 9 * 8));
    const std::int64_t pairs = std::int64_t(shape.n_types) * shape.n_types;
    const std::int64_t table = pairs * (shape.n_coefficients + 1) * 8;
    layout.table_shared = table <= most_table;
    if (layout.table_shared) layout.table = std::uint32_t(take(shared, table));
    std::int64_t& state = state_shared ? shared : global;
    for (std::uint32_t* vector : {&layout.x, &layout.v, &layout.f, &layout.built})
        *vector = std::uint32_t(take(state, n * d * 8));
    if (shape.unwrapped) layout.image = std::uint32_t(take(state, n * d * 4));
    layout.near_x = std::uint32_t(take(state, n * d * 4));
    layout.counts = std::uint32_t(take(state, columns * 2));
    if (may_use_cells(shape.n_particles, lanes)) {
        layout.cell_first = std::uint32_t(take(state, (n + 1) * 4));
        layout.cell_of = std::uint32_t(take(state, n * 4));
        layout.cell_mixed = std::uint32_t(take(state, n * 2));
        layout.cell_order = std::uint32_t(take(state, n * 2));
    }
    layout.list = std::uint64_t(
        take(list_shared ? shared : global, std::int64_t(capacity) * layout.columns * 2));
    layout.shared_bytes = std::uint32_t(shared);
    layout.global_bytes = std::uint64_t((global + 255) / 256 * 256);
    return layout;
}

// Warps for so many groups of columns: as few as take no more rounds than `most` of them.
int even_warps(int groups, int most) {
    const int rounds = (groups + most - 1) / most;
    return (groups + rounds - 1) / rounds;
}

}  // namespace

Plan make_plan(const Shape& shape, const DeviceLimits& limits, int least_capacity) {
    const int n = shape.n_particles;
    const int dense = (shape.dimension == 2 ? most_warps / 2 : most_warps) * group_size;
    Plan plan{};
    plan.lanes = 4 * n <= dense ? 4 : (2 * n <= dense ? 2 : 1);

    // A lane takes every second or fourth particle, so many at most.
    const int all = std::max(1, (n + plan.lanes - 1) / plan.lanes);
    // Random starts are as uneven as numbers of chance are; one row in ten thousand may overflow.
    const double mean = most_growth * shape.row / plan.lanes;
    const int roomy = int(std::min(mean + 4.0 * std::sqrt(mean) + 4.0, double(all)));
    const int capacity = std::min(all, std::max(roomy, least_capacity));

    const auto blocks_that_fit = [&limits](const Layout& layout) {
        if (layout.shared_bytes > limits.shared_per_block) return 0;
        return int(limits.shared_per_multiprocessor /
                   (std::int64_t(layout.shared_bytes) + limits.shared_reserved));
    };
    const int groups = group_count(n * plan.lanes);
    for (const auto& [state_shared, list_shared] :
         {std::pair(true, true), {true, false}, {false, false}}) {
        plan.layout = lay_out(shape, plan.lanes, capacity, state_shared, list_shared);
        const int blocks = blocks_that_fit(plan.layout);
        if (blocks == 0) continue;
        const int warps = even_warps(groups, blocks >= 2 ? most_warps / 2 : most_warps);
        plan.threads = warps * group_size;
        plan.blocks_per_multiprocessor = std::min(blocks, most_warps / warps);
        plan.shared = state_shared && list_shared;
        break;
    }
    return plan;
}

}  // namespace amorph::engine::device
