// control: the header of what the host tells a step (src/protocol.rs); rows for the parameter groups
// follow (shared/update).

const CONTROL_IMAGES = 0u;  // images in the batch that count
const CONTROL_STEP = 1u;
const CONTROL_SEED = 2u;    // low word, then high word
const CONTROL_HEADER = 4u;
