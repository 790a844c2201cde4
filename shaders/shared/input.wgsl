// input: four words of x as a convolution reads them. Needs a binding `x`, gemm, norm, relu and words.
//
// The words are loaded first, wherever they are, and made what they count as afterwards: loads behind branches would
// wait for each other, and most of a small product's time is spent waiting for them.

// How x is read.
const LOAD_PLAIN = 0u;
const LOAD_NORMALIZED = 1u;  // through the norm and a ReLU

// A word of x, or none, which counts as zero.
struct InputWord {
    index: u32,
    inside: bool,
}

fn input_word(element: u32, inside: bool) -> InputWord {
    return InputWord(select(0u, element, inside) / WORD, inside);
}

// All of one channel, by the mode `load`.
fn x_words(a: InputWord, b: InputWord, c: InputWord, d: InputWord, channel: u32, load: u32) -> Quad {
    var first = x[a.index];
    var second = x[b.index];
    var third = x[c.index];
    var fourth = x[d.index];
    if load == LOAD_NORMALIZED {
        let norm = norm_of(channel, p.in_channels);
        first = relu(normalized(first, norm));
        second = relu(normalized(second, norm));
        third = relu(normalized(third, norm));
        fourth = relu(normalized(fourth, norm));
    }
    return Quad(
        widened(select(Word(), first, a.inside)),
        widened(select(Word(), second, b.inside)),
        widened(select(Word(), third, c.inside)),
        widened(select(Word(), fourth, d.inside)),
    );
}
