// words: what one access to a buffer of activations or weights moves; here a vec4, where channels are multiples of 4.

alias Word = vec4<f32>;
alias Bits = vec4<u32>;

const WORD = 4u;

// A word as the first of four numbers.
fn widened(word: Word) -> vec4<f32> {
    return word;
}

// The first number of a word.
fn narrowed(word: Word) -> f32 {
    return word.x;
}

// The word that begins with the first of four numbers.
fn word_of(values: vec4<f32>) -> Word {
    return values;
}
