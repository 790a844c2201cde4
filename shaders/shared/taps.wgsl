// taps: indices in the depth of a convolution's matrix product: a tap of the kernel and a channel under it.

struct Cursor {
    tap: vec2<u32>,  // row, column
    channel: u32,
}

fn tap_at(step: u32, kernel_width: u32, channels: u32) -> Cursor {
    let tap = step / channels;
    return Cursor(vec2(tap / kernel_width, tap % kernel_width), step % channels);
}

// Moves on to the next tap where the channel lies beyond the last.
fn within_tap(cursor: Cursor, kernel_width: u32, channels: u32) -> Cursor {
    var next = cursor;
    if next.channel >= channels {
        next.channel -= channels;
        next.tap.y += 1u;
        if next.tap.y == kernel_width {
            next.tap = vec2(next.tap.x + 1u, 0u);
        }
    }
    return next;
}

// One step further on.
fn tap_next(cursor: Cursor, kernel_width: u32, channels: u32) -> Cursor {
    return within_tap(Cursor(cursor.tap, cursor.channel + 1u), kernel_width, channels);
}

// `steps` further on, without dividing: a tile's loads would spend as long on divisions as on loading.
fn tap_after(cursor: Cursor, steps: u32, kernel_width: u32, channels: u32) -> Cursor {
    var next = Cursor(cursor.tap, cursor.channel + steps);
    // At most ceil(steps / channels) taps on. All invocations take as many turns: FXC, the older of Microsoft's
    // compilers, refuses barriers around a loop that may end sooner for some.
    for (var passed = 0u; passed < steps; passed += channels) {
        next = within_tap(next, kernel_width, channels);
    }
    return next;
}
