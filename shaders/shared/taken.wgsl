// taken: four words of x as a convolution takes them. Needs a binding `x`, gemm, norm, relu and words.
//
// The words are loaded first, wherever they are, and made what they count as afterwards: loads behind branches would
// wait for each other, and most of a small product's time is spent waiting for them.

// A word of x, or none, which counts as zero.
struct Place {
    at: u32,
    inside: bool,
}

fn place(element: u32, inside: bool) -> Place {
    return Place(select(0u, element, inside) / WORD, inside);
}

// All of one channel; `through` the norm and a ReLU, or as they are.
fn x_words(a: Place, b: Place, c: Place, d: Place, channel: u32, through: bool) -> Quad {
    var first = x[a.at];
    var second = x[b.at];
    var third = x[c.at];
    var fourth = x[d.at];
    if through {
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
