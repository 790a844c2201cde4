// report: what a step or an evaluation batch tells the host (src/protocol.rs).

const REPORT_LOSS = 0u;        // sum of the losses, f32 bits
const REPORT_CORRECT = 1u;     // number of correct predictions
const REPORT_IMAGES = 2u;      // number of images
const REPORT_NOT_FINITE = 3u;  // nonzero once a value was not finite; stops all updates until the host clears it
const REPORT_FIRST_GRADIENT = 4u; // mean of |gradient| of the first convolution's weights, f32 bits, if it is recorded
