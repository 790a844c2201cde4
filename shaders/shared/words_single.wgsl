// words: what one access to a buffer of activations or weights moves; here one number, which suits any channels.

alias Word = f32;
alias Bits = u32;

const WORD = 1u;

// A word as the first of four numbers.
fn widened(word: Word) -> vec4<f32> {
    return vec4(word, 0.0, 0.0, 0.0);
}

// The first number of a word.
fn narrowed(word: Word) -> f32 {
    return word;
}

// The word that begins with the first of four numbers.
fn word_of(values: vec4<f32>) -> Word {
    return values.x;
}
