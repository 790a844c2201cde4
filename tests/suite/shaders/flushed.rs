//! Devices may take numbers below the smallest normal one for 0, in what they read and in what they write. Processors
//! do too, if they are asked to: the twins must stay within the tolerances then.
#![allow(unsafe_code)] // The control register, see `flush_to_zero`.

use std::arch::asm;

use rayon::ThreadPoolBuilder;
use sdgpu::internals::device::cpu::CpuDevice;
use sdgpu::internals::selftest::{Implementation, check, tables};

/// Has the calling thread take subnormal numbers for 0, from now on.
fn flush_to_zero() {
    let (mut control, flush_results, flush_operands) = (0u32, 1 << 15, 1 << 6);
    // SAFETY: reads and writes the thread's own control register; all exceptions stay masked. What the compiler
    // computes ahead may still have subnormal numbers, which the tolerances allow as well.
    unsafe {
        asm!("stmxcsr [{}]", in(reg) &mut control, options(nostack));
        control |= flush_results | flush_operands;
        asm!("ldmxcsr [{}]", in(reg) &control, options(nostack));
    }
}

#[test]
fn twins_that_flush_stay_within_the_tolerance() {
    let pool = ThreadPoolBuilder::new().num_threads(2).start_handler(|_| flush_to_zero()).build().expect("threads");
    // Multiplied on a thread of the pool, where the compiler can't know them.
    let half = |tiny: f32| pool.install(|| std::hint::black_box(tiny) * std::hint::black_box(0.5));
    assert_eq!((half(f32::MIN_POSITIVE), half(2.0)), (0.0, 1.0));

    let mut twins = Implementation::of_twins().with_mode("flushed to zero", false, CpuDevice::on(pool));
    let wrong = |row| check(&mut twins, row).err().map(|failure| format!("{row}: {failure}"));
    let failures: Vec<String> = tables::rows().iter().filter_map(wrong).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
