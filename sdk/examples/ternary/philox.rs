// SPDX-License-Identifier: Apache-2.0
// Philox4x32-10, as in onebit/counter_random.hpp and with its numbers: random words as a function of step, rank, key and
// element. Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11.

pub struct CounterRandom {
    step: [u32; 2],
    counter: [u32; 4],
}

impl CounterRandom {
    pub fn new(step: u64, rank: u64, key: u64) -> Self {
        CounterRandom {
            step: [step as u32, (step >> 32) as u32],
            counter: [0, rank as u32, key as u32, (key >> 32) as u32],
        }
    }

    /// The words of elements 4 index to 4 index + 3.
    pub fn quad(&self, index: u32) -> [u32; 4] {
        let mut c = self.counter;
        let mut key = self.step;
        c[0] = index;
        for _ in 0..10 {
            let product0 = 0xD251_1F53_u64 * u64::from(c[0]);
            let product1 = 0xCD9E_8D57_u64 * u64::from(c[2]);
            c = [
                (product1 >> 32) as u32 ^ c[1] ^ key[0],
                product1 as u32,
                (product0 >> 32) as u32 ^ c[3] ^ key[1],
                product0 as u32,
            ];
            key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
        }
        c
    }
}

/// In [0, 1), a multiple of 2^-24.
pub fn unit(word: u32) -> f32 {
    (word >> 8) as f32 / 16_777_216.0
}
