// relu: max(x, 0) that lets NaN through (the built-in max(nan, 0) is 0 and would hide it).

fn relu(x: f32) -> f32 {
    return select(x, 0.0, x < 0.0);
}
