// Philox4x32-10, the counter-based generator of Salmon et al., SC'11 (doi:10.1145/2063384.2063405).
// A number depends on its key and counter alone, hence not on threads, order or batch:
// key = seed, counter = (purpose and particle, replica, design step, MD step).
#pragma once

#include <cstdint>

#include "../../potentials/real.h"

namespace amorph::engine {

struct Philox {
    static constexpr int rounds = 10;
    static constexpr std::uint32_t multiplier[2] = {0xD2511F53u, 0xCD9E8D57u};
    static constexpr std::uint32_t key_step[2] = {0x9E3779B9u, 0xBB67AE85u};
    std::uint32_t word[4];

    AMORPH_HOSTDEVICE Philox(std::uint64_t seed, std::uint32_t c0, std::uint32_t c1,
                             std::uint32_t c2, std::uint32_t c3)
        : word{c0, c1, c2, c3} {
        std::uint32_t k0 = static_cast<std::uint32_t>(seed);
        std::uint32_t k1 = static_cast<std::uint32_t>(seed >> 32);
        for (int round = 0; round < rounds; ++round) {
            const std::uint64_t p0 = std::uint64_t(multiplier[0]) * word[0];
            const std::uint64_t p1 = std::uint64_t(multiplier[1]) * word[2];
            const std::uint32_t w1 = word[1];
            const std::uint32_t w3 = word[3];
            word[0] = static_cast<std::uint32_t>(p1 >> 32) ^ w1 ^ k0;
            word[1] = static_cast<std::uint32_t>(p1);
            word[2] = static_cast<std::uint32_t>(p0 >> 32) ^ w3 ^ k1;
            word[3] = static_cast<std::uint32_t>(p0);
            k0 += key_step[0];
            k1 += key_step[1];
        }
    }

    // Two uniforms in [0, 1) of 53 bits: which = 0 or 1.
    AMORPH_HOSTDEVICE double uniform(int which) const {
        const std::uint32_t high = word[2 * which] >> 5;
        const std::uint32_t low = word[2 * which + 1] >> 6;
        return (high * 67108864.0 + low) * (1.0 / 9007199254740992.0);
    }
};

}  // namespace amorph::engine
