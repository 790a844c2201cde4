// norm: what a batch norm does to its input. Needs a binding `norm`, [4, channels]: mean, 1 / deviation, gamma, beta.

struct Norm {
    mean: f32,
    rstd: f32,
    gamma: f32,
    beta: f32,
}

fn norm_of(channel: u32, channels: u32) -> Norm {
    return Norm(
        norm[channel], norm[channels + channel], norm[2u * channels + channel], norm[3u * channels + channel],
    );
}

fn standardized(x: f32, n: Norm) -> f32 {
    return (x - n.mean) * n.rstd;
}

fn normalized(x: f32, n: Norm) -> f32 {
    return fma(n.gamma, standardized(x, n), n.beta);
}
