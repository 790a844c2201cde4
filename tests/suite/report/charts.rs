//! Charts by themselves.

use expect_test::expect_file;
use sdgpu::internals::report::chart::{
    Axis, BarCode, Cell, DotPlot, Drawing, Gallery, HeatMap, Key, Layer, Mark, Marker, Panel, Picture, Plot, Point,
    Sign, Stroke,
};

#[test]
fn charts_are_drawn_as_before() {
    let points: Vec<(f64, f64)> = (0..9u32).map(|x| (f64::from(x), f64::from(x * x % 7))).collect();
    let plot = Plot {
        title: "a plot & more".into(),
        x: Axis::tight("step").whole(),
        y: Axis::round("accuracy (%)"),
        layers: vec![
            Layer::Band { series: 0, points: points.iter().map(|&(x, y)| (x, y - 1.0, y + 1.0)).collect() },
            Layer::Line { series: 0, stroke: Stroke::Faint, points: points.clone() },
            Layer::Line { series: 1, stroke: Stroke::Dashed, points: points.clone() },
            Layer::Points { series: 1, points: vec![Point { x: 4.0, y: 3.0, interval: Some((2.0, 5.0)) }] },
        ],
    };
    let cell = |shade: f64| Some(Cell { shade, series: 1, text: format!("{shade}") });
    let heat_map = HeatMap {
        title: "a map".into(),
        columns: "p_L".into(),
        rows: String::new(),
        column_names: ["0.5", "1"].map(String::from).into(),
        row_names: ["linear", "uniform"].map(String::from).into(),
        cells: vec![vec![cell(0.0), cell(1.0)], vec![None, cell(0.25)]],
    };
    let code = BarCode {
        title: "gates".into(),
        columns: "step".into(),
        rows: "block".into(),
        series: 2,
        bars: vec![vec![true, false], vec![true, true], vec![false, true]],
    };
    let mark = |at, marker| Mark { at, interval: Some((at - 1.0, at + 2.0)), marker, series: 3 };
    let dot_plot = DotPlot {
        title: "saved".into(),
        x: Axis::round("share (%)"),
        rows: vec![("a net".into(), vec![mark(20.0, Marker::Dot), mark(24.0, Marker::Ring), mark(25.0, Marker::Tick)])],
    };
    let picture = Picture { source: "data:,".into(), lines: ["4 for 9", "99 %"].map(String::from) };
    let gallery = Gallery { title: "mistakes".into(), pictures: vec![picture] };
    let drawing = Drawing {
        legend: vec![Key { series: 0, sign: Sign::Swatch, name: "plain".into() }],
        panels: vec![
            Panel::Plot(plot),
            Panel::DotPlot(dot_plot),
            Panel::HeatMap(heat_map),
            Panel::BarCode(code),
            Panel::Gallery(gallery),
        ],
    };
    expect_file!["../../golden/charts.svg"].assert_eq(&drawing.file("Charts", "Made by a test"));
}
