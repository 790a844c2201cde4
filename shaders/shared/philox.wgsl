// philox: counter-based random numbers, Philox 4x32-10 (Salmon, Moraes, Dror and Shaw 2011).
// The same numbers as src/rng.rs, bit for bit: block `index / 4` holds the word number `index`.

const STREAM_DROPOUT = 3u;

// High word of the 64-bit product, by long multiplication of 16-bit halves.
fn multiply_high(a: u32, b: u32) -> u32 {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let cross = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
    let middle = (a & 0xffffu) * (b >> 16u) + (cross & 0xffffu);
    return (a >> 16u) * (b >> 16u) + (cross >> 16u) + (middle >> 16u);
}

// Four random words; seed: low word, high word.
fn philox(seed: vec2<u32>, stream: u32, step: u32, block: u32) -> vec4<u32> {
    let a = 0xd2511f53u;
    let b = 0xcd9e8d57u;
    var counter = vec4<u32>(block, 0u, step, stream);
    var key = seed;
    for (var round = 0u; round < 10u; round += 1u) {
        counter = vec4<u32>(
            multiply_high(b, counter.z) ^ counter.y ^ key.x,
            b * counter.z,
            multiply_high(a, counter.x) ^ counter.w ^ key.y,
            a * counter.x,
        );
        key += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
    }
    return counter;
}

// A random word as a number in [0, 1), a multiple of 2^-24.
fn unit(word: u32) -> f32 {
    return f32(word >> 8u) * (1.0 / 16777216.0);
}
