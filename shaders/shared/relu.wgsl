// relu: max(x, 0) that lets NaN through (the built-in max(nan, 0) is 0 and would hide it). Needs words.

fn relu(x: Word) -> Word {
    return select(x, Word(), x < Word());
}
