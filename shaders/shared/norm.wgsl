// norm: what a batch norm does to its input. Needs a binding `norm`, [4, channels]: mean, 1 / deviation, gamma, beta;
// and words.

struct Norm {
    mean: Word,
    rstd: Word,
    gamma: Word,
    beta: Word,
}

// Of the channels of a word, the first of which is `channel`.
fn norm_of(channel: u32, channels: u32) -> Norm {
    return Norm(
        norm[channel / WORD],
        norm[(channels + channel) / WORD],
        norm[(2u * channels + channel) / WORD],
        norm[(3u * channels + channel) / WORD],
    );
}

fn standardized(x: Word, n: Norm) -> Word {
    return (x - n.mean) * n.rstd;
}

fn normalized(x: Word, n: Norm) -> Word {
    return fma(n.gamma, standardized(x, n), n.beta);
}
