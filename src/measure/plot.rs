//! The plot of what skipping saves, as SVG.

use std::fmt::Write;

use super::Skipping;
use super::skipping::DrawTime;

/// Panels beside each other.
const COLUMNS: usize = 2;
/// Width and height of a panel, with its labels.
const PANEL: (f64, f64) = (430.0, 270.0);
/// Where the axes of a panel begin and end, from its left and its top.
const LEFT: f64 = 58.0;
const RIGHT: f64 = 420.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 222.0;
/// Heights of title and legend, above the panels, and of the caption below them.
const HEAD: f64 = 58.0;
const FOOT: f64 = 48.0;

/// Readable on light and on dark pages.
const STYLE: &str = "text{font:12px sans-serif;fill:#24292f}.title{font-size:15px}.small{font-size:11px}\
    .axis{stroke:#24292f}.grid{stroke:#d0d7de}.line{fill:none;stroke-width:1.5}\
    .time{fill:#0969da;stroke:#0969da}.flop{stroke:#bc4c00}.bytes{stroke:#1a7f37;stroke-dasharray:5 3}\
    @media(prefers-color-scheme:dark){text{fill:#d8dee4}.axis{stroke:#d8dee4}.grid{stroke:#3d444d}\
    .time{fill:#58a6ff;stroke:#58a6ff}.flop{stroke:#f0883e}.bytes{stroke:#56d364}}";

/// What is said below the plot.
#[derive(Clone, Debug)]
pub struct Caption {
    /// Device and version.
    pub machine: String,
    /// The command that made it.
    pub command: String,
}

/// A panel for each of `nets`: by draw, the shares of time (with quartiles), of operations and of bytes.
pub fn skipping_plot(nets: &[Skipping], caption: &Caption) -> String {
    let rows = nets.len().div_ceil(COLUMNS);
    let (width, height) = (PANEL.0 * COLUMNS as f64, HEAD + PANEL.1 * rows as f64 + FOOT);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n\
         <title>What a step with dropped blocks costs</title>\n<style>{STYLE}</style>\n"
    );
    text(
        &mut svg,
        12.0,
        22.0,
        "title",
        "What a step with dropped blocks costs, as a share of the step with all gates on",
    );
    legend(&mut svg);
    for (index, net) in nets.iter().enumerate() {
        let (x, y) = (PANEL.0 * (index % COLUMNS) as f64, HEAD + PANEL.1 * (index / COLUMNS) as f64);
        let _ = writeln!(svg, "<g transform=\"translate({x} {y})\">");
        panel(&mut svg, net);
        svg.push_str("</g>\n");
    }
    text(&mut svg, 12.0, height - 28.0, "small", &caption.machine);
    text(&mut svg, 12.0, height - 12.0, "small", &caption.command);
    svg.push_str("</svg>\n");
    svg
}

fn legend(svg: &mut String) {
    let _ = writeln!(svg, "<circle class=\"time\" cx=\"20\" cy=\"42\" r=\"2.5\"/>");
    text(svg, 30.0, 46.0, "", "time: median and quartiles");
    for (x, class, name) in [(220.0, "flop", "FLOP"), (310.0, "bytes", "bytes moved")] {
        let _ = writeln!(svg, "<path class=\"line {class}\" d=\"M{x} 42h24\"/>");
        text(svg, x + 32.0, 46.0, "", name);
    }
}

fn panel(svg: &mut String, net: &Skipping) {
    let Skipping { arch, batch_size, survival_last, .. } = net;
    text(svg, LEFT, 20.0, "", &format!("{arch}, batch {batch_size}, p_L = {survival_last}"));
    let mut draws: Vec<&DrawTime> = net.draws.iter().collect();
    draws.sort_by(|a, b| a.flop_share.total_cmp(&b.flop_share));
    let least = |draw: &&DrawTime| draw.time_share.lower_quartile.min(draw.flop_share).min(draw.byte_share);
    let most = |draw: &&DrawTime| draw.time_share.upper_quartile;
    let low = (10.0 * draws.iter().map(least).fold(1.0, f64::min)).floor() / 10.0;
    let high = (10.0 * draws.iter().map(most).fold(1.0, f64::max)).ceil() / 10.0;
    let x_of = |index: usize| LEFT + (RIGHT - LEFT) * (index as f64 + 0.5) / draws.len() as f64;
    let y_of = |share: f64| BOTTOM - (BOTTOM - TOP) * (share - low) / (high - low);

    let tenths = (10.0 * low).round() as u32..=(10.0 * high).round() as u32;
    for tenth in tenths {
        let y = y_of(f64::from(tenth) / 10.0);
        let _ = writeln!(svg, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>");
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{} %</text>",
            LEFT - 6.0,
            y + 4.0,
            10 * tenth
        );
    }
    let _ = writeln!(svg, "<path class=\"axis\" fill=\"none\" d=\"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}\"/>");
    let middle = (LEFT + RIGHT) / 2.0;
    let below = format!("{} draws of the gates, in the order of their FLOP", draws.len());
    let _ = writeln!(svg, "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{below}</text>", BOTTOM + 20.0);

    for (class, share) in
        [("flop", (|draw| draw.flop_share) as fn(&DrawTime) -> f64), ("bytes", |draw| draw.byte_share)]
    {
        let points =
            draws.iter().enumerate().map(|(index, draw)| format!("{:.1},{:.1}", x_of(index), y_of(share(draw))));
        let points = points.collect::<Vec<_>>().join(" ");
        let _ = writeln!(svg, "<polyline class=\"line {class}\" points=\"{points}\"/>");
    }
    for (index, draw) in draws.iter().enumerate() {
        let (x, time) = (x_of(index), &draw.time_share);
        let (top, bottom) = (y_of(time.upper_quartile), y_of(time.lower_quartile));
        let _ = writeln!(svg, "<path class=\"time\" d=\"M{x:.1} {top:.1}V{bottom:.1}\"/>");
        let _ = writeln!(svg, "<circle class=\"time\" cx=\"{x:.1}\" cy=\"{:.1}\" r=\"2.5\"/>", y_of(time.median));
    }
}

fn text(svg: &mut String, x: f64, y: f64, class: &str, content: &str) {
    let content = content.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\"{class}>{content}</text>");
}
