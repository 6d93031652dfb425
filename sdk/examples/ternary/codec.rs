// SPDX-License-Identifier: Apache-2.0
// The arithmetic of `ternary`, one block at a time, in safe Rust; ternary.rs has the formulas.

use crate::philox::{unit, CounterRandom};

pub struct Ternary {
    pub block: i64,
    pub clip: f64,
}

/// A payload that no encoder wrote.
pub struct Malformed {
    pub element: usize,
}

const PER_WORD: usize = 16;

impl Ternary {
    pub fn payload_size(&self, count: usize) -> usize {
        4 + (count + PER_WORD - 1) / PER_WORD * 4
    }

    /// The largest magnitude, clipped; a NaN compares false and is passed over.
    fn scale(&self, values: &[f32]) -> f32 {
        let squares: f64 = values.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        let largest = values
            .iter()
            .fold(0.0_f32, |most, &x| if x.abs() > most { x.abs() } else { most });
        let limit = self.clip * (squares / values.len() as f64).sqrt();
        if self.clip > 0.0 && limit < f64::from(largest) {
            limit as f32
        } else {
            largest
        }
    }

    pub fn encode(&self, values: &[f32], random: &CounterRandom, payload: &mut [u8]) {
        let scale = self.scale(values);
        payload[..4].copy_from_slice(&scale.to_ne_bytes());
        for (w, sixteen) in values.chunks(PER_WORD).enumerate() {
            let mut word = 0_u32;
            for (q, four) in sixteen.chunks(4).enumerate() {
                let words = random.quad((w * 4 + q) as u32);
                for (i, &x) in four.iter().enumerate() {
                    let moves = unit(words[i]) * scale < x.abs(); // with probability |x| / scale
                    let code = if !moves { 0 } else { 1 + u32::from(x < 0.0) };
                    word |= code << (2 * (4 * q + i));
                }
            }
            payload[4 + 4 * w..8 + 4 * w].copy_from_slice(&word.to_ne_bytes());
        }
    }

    pub fn decode(&self, payload: &[u8], weight: f32, add: bool, out: &mut [f32]) -> Result<(), Malformed> {
        let number = |at: usize| [payload[at], payload[at + 1], payload[at + 2], payload[at + 3]];
        let scale = weight * f32::from_ne_bytes(number(0));
        for (w, sixteen) in out.chunks_mut(PER_WORD).enumerate() {
            let word = u32::from_ne_bytes(number(4 + 4 * w));
            for (i, to) in sixteen.iter_mut().enumerate() {
                let x = match word >> (2 * i) & 3 {
                    0 => 0.0,
                    1 => scale,
                    2 => -scale,
                    _ => {
                        return Err(Malformed {
                            element: w * PER_WORD + i,
                        })
                    }
                };
                *to = if add { *to + x } else { x };
            }
        }
        Ok(())
    }
}
