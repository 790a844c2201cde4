//! Everything that reads what may come from anybody: bytes in, a value or an error out, and never a panic.

use std::io::Read;
use std::path::Path;

use sdgpu::internals::data::idx;
use sdgpu::internals::device::parse_cache;
use sdgpu::internals::model::resnet::ResNet;
use sdgpu::internals::run_dir::{RunConfig, decode_checkpoint, decode_weights, parse_metrics};
use sdgpu::internals::train::{Event, TrainOptions};

/// Reads some bytes; whether they were what they should be.
pub type EntryPoint = fn(&[u8]) -> bool;

/// All of them, by name.
#[allow(dead_code, reason = "each fuzz target takes one")]
pub const ALL: [(&str, EntryPoint); 8] = [
    ("idx_images", idx_images),
    ("idx_labels", idx_labels),
    ("idx_gzip", idx_gzip),
    ("weights", weights),
    ("checkpoint", checkpoint),
    ("config", config),
    ("metrics", metrics),
    ("tuning_cache", tuning_cache),
];

/// A file of images.
pub fn idx_images(bytes: &[u8]) -> bool {
    idx::read::<3>(Path::new("images"), bytes).is_ok()
}

/// A file of labels.
pub fn idx_labels(bytes: &[u8]) -> bool {
    idx::read::<1>(Path::new("labels"), bytes).is_ok()
}

/// A compressed file of labels.
pub fn idx_gzip(bytes: &[u8]) -> bool {
    let reader: Box<dyn Read> = Box::new(flate2::read::MultiGzDecoder::new(bytes));
    idx::read::<1>(Path::new("labels.gz"), reader).is_ok()
}

/// A file of weights, sdgpu's or not, and its fit to a net.
pub fn weights(bytes: &[u8]) -> bool {
    decode_weights(bytes).is_ok_and(|(weights, _)| weights.fit(&net()).is_ok())
}

/// A checkpoint of a run with the settings of [`settings`].
pub fn checkpoint(bytes: &[u8]) -> bool {
    decode_checkpoint(bytes, &net(), &settings()).is_ok()
}

/// The settings of a run.
pub fn config(bytes: &[u8]) -> bool {
    let config = std::str::from_utf8(bytes).ok().and_then(|text| RunConfig::parse(text).ok());
    // What `--resume` asks of them before it trains.
    config.is_some_and(|config| {
        let settings = config.settings;
        settings.check(60, 20).is_ok() && settings.net(1, 3).is_ok_and(|net| net.blocks.len() < 1000)
    })
}

/// The lines that a run writes, with the order of their steps, which a report asks for.
pub fn metrics(bytes: &[u8]) -> bool {
    let mut last = 0;
    let in_order = |event: Event<'_>| {
        let follows = event.step() == last + u64::from(matches!(event, Event::Step(_)));
        last = event.step();
        if follows { Ok(()) } else { Err(format!("step {last} stands elsewhere")) }
    };
    parse_metrics(Path::new("metrics.jsonl"), bytes, in_order).is_ok()
}

/// What was measured of the variants of shaders.
pub fn tuning_cache(bytes: &[u8]) -> bool {
    parse_cache(bytes).is_some()
}

/// The net of [`settings`].
pub fn net() -> ResNet {
    let mut net = ResNet::named("resnet8", 1, 2).expect("a net");
    net.blocks.truncate(1);
    net.stem.out_channels = 2;
    for conv in &mut net.blocks[0].branch {
        (conv.in_channels, conv.out_channels) = (2, 2);
    }
    net
}

/// The settings that a checkpoint must have.
pub fn settings() -> TrainOptions {
    serde_json::from_str(include_str!("../tests/fixtures/settings.json")).expect("settings")
}
