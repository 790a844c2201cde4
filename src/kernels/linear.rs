//! A fully connected layer: `y = x w + b`, forward and backward.

use multiversion::multiversion;
use rayon::prelude::*;

use super::{element_workgroups, params, shader};
use crate::dispatch::{Bindings, Cost, Kernel};

shader! { FORWARD: "linear_forward", family: linear, reads: 3, writes: 1, params: Forward }
shader! {
    INPUT_GRADIENT: "linear_input_gradient", family: linear,
    reads: 2, writes: 1, params: InputGradient
}
shader! {
    WEIGHT_GRADIENT: "linear_weight_gradient", family: linear,
    reads: 2, writes: 2, params: WeightGradient
}

params! {
    /// `x, w, b -> y`.
    pub struct Forward {
        /// Rows of `x` and `y`.
        batch: u32,
        /// Columns of `x`.
        in_features: u32,
        /// Columns of `y`.
        out_features: u32,
    }
}

impl Forward {
    /// Of weights `[in_features, out_features]`.
    pub fn new(batch: u32, in_features: u32, out_features: u32) -> Self {
        Self { batch, in_features, out_features }
    }
}

/// What a matrix product costs that loads both factors of every multiplication.
fn cost(outputs: u32, terms: u32) -> Cost {
    let products = f64::from(outputs) * f64::from(terms);
    Cost { flop: 2.0 * products, terms: f64::from(terms), loads: 2.0 * products }
}

impl Kernel for Forward {
    fn workgroups(&self) -> u32 {
        element_workgroups(self.batch * self.out_features)
    }
    fn cost(&self) -> Cost {
        let outputs = self.batch * self.out_features;
        let Cost { flop, terms, loads } = cost(outputs, self.in_features);
        Cost { flop, terms, loads: loads + f64::from(outputs) }
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        let ([x, w, b], [y]) = bindings.f32();
        let rows = x.par_chunks_exact(self.in_features as usize);
        rows.zip(y.par_chunks_exact_mut(self.out_features as usize)).for_each(|(x, y)| {
            y.copy_from_slice(b);
            add_products(x, 1, w, y);
        });
    }
}

params! {
    /// `dy, w -> dx`.
    pub struct InputGradient {
        /// Rows of `dy` and `dx`.
        batch: u32,
        /// Columns of `dx`.
        in_features: u32,
        /// Columns of `dy`.
        out_features: u32,
    }
}

impl InputGradient {
    /// Of weights `[in_features, out_features]`.
    pub fn new(batch: u32, in_features: u32, out_features: u32) -> Self {
        Self { batch, in_features, out_features }
    }
}

impl Kernel for InputGradient {
    fn workgroups(&self) -> u32 {
        element_workgroups(self.batch * self.in_features)
    }
    fn cost(&self) -> Cost {
        cost(self.batch * self.in_features, self.out_features)
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        let ([dy, w], [dx]) = bindings.f32();
        let (inputs, outputs) = (self.in_features as usize, self.out_features as usize);
        let mut transposed = vec![0.0; w.len()];
        for (k, w) in w.chunks_exact(outputs).enumerate() {
            for (column, w) in w.iter().enumerate() {
                transposed[column * inputs + k] = *w;
            }
        }
        dy.par_chunks_exact(outputs).zip(dx.par_chunks_exact_mut(inputs)).for_each(|(dy, dx)| {
            dx.fill(0.0);
            add_products(dy, 1, &transposed, dx);
        });
    }
}

params! {
    /// `x, dy -> dw, db`.
    pub struct WeightGradient {
        /// Rows of `x` and `dy`.
        batch: u32,
        /// Columns of `x`.
        in_features: u32,
        /// Columns of `dy`.
        out_features: u32,
    }
}

impl WeightGradient {
    /// Of weights `[in_features, out_features]`.
    pub fn new(batch: u32, in_features: u32, out_features: u32) -> Self {
        Self { batch, in_features, out_features }
    }
}

impl Kernel for WeightGradient {
    fn workgroups(&self) -> u32 {
        element_workgroups((self.in_features + 1) * self.out_features)
    }
    fn cost(&self) -> Cost {
        cost((self.in_features + 1) * self.out_features, self.batch)
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        let ([x, dy], [dw, db]) = bindings.f32();
        let (inputs, outputs) = (self.in_features as usize, self.out_features as usize);
        dw.par_chunks_exact_mut(outputs).enumerate().for_each(|(k, dw)| {
            dw.fill(0.0);
            add_products(&x[k..], inputs, dy, dw);
        });
        db.fill(0.0);
        for dy in dy.chunks_exact(outputs) {
            for (db, dy) in db.iter_mut().zip(dy) {
                *db += dy;
            }
        }
    }
}

/// Adds to `sums` the rows of `rows`, as long as it, each times every `stride`-th of `factors`.
#[multiversion(targets("x86_64+avx2+fma"))]
fn add_products(factors: &[f32], stride: usize, rows: &[f32], sums: &mut [f32]) {
    for (factor, row) in factors.iter().step_by(stride).zip(rows.chunks_exact(sums.len())) {
        for (sum, term) in sums.iter_mut().zip(row) {
            *sum += factor * term;
        }
    }
}
