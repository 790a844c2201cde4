// finite: tests for NaN and infinity by bits. Compilers may assume that no float is NaN, so that `x != x` and
// comparisons with it can't be relied on.

const EXPONENT = 0x7f800000u;

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > EXPONENT;
}

fn is_finite(x: f32) -> bool {
    return (bitcast<u32>(x) & EXPONENT) != EXPONENT;
}
