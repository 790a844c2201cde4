//! What a device can do at most: multiply-adds from registers, and streams through memory. No net uses these; the
//! measured peaks that a kernel is held against come from them.

use multiversion::multiversion;
use multiversion::target::match_target;
use rayon::prelude::*;

use super::{element_workgroups, lanes, params, shader};
use crate::dispatch::{Bindings, Cost, Kernel};

shader! {
    MULTIPLY_ADD: "probe_multiply_add", family: probe,
    reads: 1, writes: 1, params: MultiplyAdd
}
shader! { TRIAD: "probe_triad", family: probe, reads: 2, writes: 1, params: Triad }

/// Chains of multiply-adds that each thread keeps going at once, so that none waits for the one before.
const CHAINS: usize = 8;
/// Multiply-adds that a round adds to each chain.
const STEPS: u32 = 8;

params! {
    /// `x -> y`: the sum over eight chains j of f(f(...f(x + j))), with f(t) = factor * t + addend applied eight times
    /// in each round.
    pub struct MultiplyAdd {
        /// Elements of `x`.
        elements: u32,
        /// Rounds.
        rounds: u32,
        /// Factor of f.
        factor: f32,
        /// Addend of f.
        addend: f32,
    }
}

impl Kernel for MultiplyAdd {
    fn workgroups(&self) -> u32 {
        element_workgroups(self.elements)
    }
    fn cost(&self) -> Cost {
        let elements = f64::from(self.elements);
        let steps = f64::from(self.rounds) * f64::from(STEPS);
        Cost { flop: 2.0 * steps * CHAINS as f64 * elements, terms: steps + CHAINS as f64, loads: elements }
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        let ([x], [y]) = bindings.f32();
        let task = lanes::task(1);
        x.par_chunks(task).zip(y.par_chunks_mut(task)).for_each(|(x, y)| run(self, x, y));
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn run(p: &MultiplyAdd, x: &[f32], y: &mut [f32]) {
    // Four chains at a time fill eight vector registers, or NEON's sixteen.
    match_target! {
        "x86_64+avx512f+avx512vl+fma" => run_in_lanes::<32, true>(p, x, y),
        "x86_64+avx2+fma" => run_in_lanes::<16, true>(p, x, y),
        "aarch64+neon" => run_in_lanes::<16, true>(p, x, y),
        _ => run_in_lanes::<8, false>(p, x, y),
    }
}

#[inline(always)]
fn run_in_lanes<const LANES: usize, const FMA: bool>(p: &MultiplyAdd, x: &[f32], y: &mut [f32]) {
    for (x, y) in x.chunks(LANES).zip(y.chunks_mut(LANES)) {
        let mut start = [0.0; LANES];
        start[..x.len()].copy_from_slice(x);
        let mut chains: [[f32; LANES]; CHAINS] = std::array::from_fn(|chain| start.map(|x| x + chain as f32));
        for chains in chains.as_chunks_mut::<4>().0 {
            for _ in 0..STEPS * p.rounds {
                // Written out, so that the chains stay in registers.
                step::<LANES, FMA>(p, &mut chains[0]);
                step::<LANES, FMA>(p, &mut chains[1]);
                step::<LANES, FMA>(p, &mut chains[2]);
                step::<LANES, FMA>(p, &mut chains[3]);
            }
        }
        for (lane, y) in y.iter_mut().enumerate() {
            // In the shader's order: the chains j and j + 4 share a component of its vectors.
            let pair = |chain: usize| chains[chain][lane] + chains[chain + 4][lane];
            *y = (pair(0) + pair(1)) + (pair(2) + pair(3));
        }
    }
}

/// f of each number of a chain.
#[inline(always)]
fn step<const LANES: usize, const FMA: bool>(p: &MultiplyAdd, chain: &mut [f32; LANES]) {
    for t in chain {
        *t = if FMA { t.mul_add(p.factor, p.addend) } else { *t * p.factor + p.addend };
    }
}

params! {
    /// `x, z -> y`: x + factor * z, the triad of McCalpin's STREAM.
    pub struct Triad {
        /// Elements of `x`.
        elements: u32,
        /// Factor of `z`.
        factor: f32,
    }
}

impl Kernel for Triad {
    fn workgroups(&self) -> u32 {
        element_workgroups(self.elements)
    }
    fn cost(&self) -> Cost {
        let elements = f64::from(self.elements);
        Cost { flop: 2.0 * elements, terms: 2.0, loads: 2.0 * elements }
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        let ([x, z], [y]) = bindings.f32();
        let task = lanes::task(1);
        let inputs = x.par_chunks(task).zip(z.par_chunks(task));
        inputs.zip(y.par_chunks_mut(task)).for_each(|((x, z), y)| stream(self.factor, x, z, y));
    }
}

#[multiversion(targets("x86_64+avx2+fma"))]
fn stream(factor: f32, x: &[f32], z: &[f32], y: &mut [f32]) {
    for ((x, z), y) in x.iter().zip(z).zip(y) {
        *y = x + factor * z;
    }
}
