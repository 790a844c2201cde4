// relu: max(x, 0) that lets NaN through. By bits: compilers make max(x, 0) of a comparison (NVIDIA's does), which is 0
// for NaN and would hide it. Needs words.

fn relu(x: Word) -> Word {
    // From the smallest negative number to -infinity; -0 comes before them, NaN behind.
    return select(x, Word(), bitcast<Bits>(x) - Bits(0x80000001u) <= Bits(0x7f7fffffu));
}
