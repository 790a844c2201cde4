//! A queue of runs as the user sees it: the runs at work with their accuracy, and the time that is
//! left.

use std::collections::HashSet;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::cli::chart;
use crate::cli::console::{Console, duration};
use crate::cli::show_device;
use crate::cli::status_area::{LINE_EVERY, StatusArea, smooth};
use crate::job::{Listener, Queue, QueueView, QueuedRun, Start};
use crate::run_dir::{RunProgress, read_metrics};
use crate::train::{EvalRecord, EvalSplit, Event, Observer, StepRecord, WhichWeights};

/// Time between two pictures on a terminal.
const DRAW_EVERY: Duration = Duration::from_millis(200);

/// Shows a queue of runs: a line for each that is at work.
pub struct ProgressTable {
    /// Folder of the runs.
    folder: PathBuf,
    area: StatusArea,
    state: Mutex<State>,
}

struct State {
    rows: Vec<Row>,
    /// Runs that are shown beside each other.
    groups: Vec<Vec<usize>>,
    jobs: usize,
    shown: Option<Instant>,
    device_is_said: bool,
    warned: HashSet<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Waiting,
    Running,
    Done,
    Failed,
}

struct Row {
    name: String,
    /// Runs of one kind take equally long.
    kind: (String, &'static str),
    steps: u64,
    stage: Stage,
    step: u64,
    loss: Option<f64>,
    /// What the evaluations on the way look at, and their accuracy, by steps.
    split: Option<EvalSplit>,
    evaluations: Vec<(u64, f64)>,
    /// On the whole test set, at the end.
    test: Option<f64>,
    /// When it began to be trained in this process, and after how many steps.
    began: Option<(Instant, u64)>,
    seconds_per_step: Option<f64>,
}

impl Row {
    fn new(folder: &Path, run: &QueuedRun, progress: &RunProgress) -> Self {
        let mut row = Self {
            name: run.name.clone(),
            kind: (run.settings.arch.clone(), run.settings.model.name()),
            steps: run.settings.steps,
            stage: Stage::Waiting,
            step: 0,
            loss: None,
            split: None,
            evaluations: Vec::new(),
            test: None,
            began: None,
            seconds_per_step: None,
        };
        if let RunProgress::Finished(summary) = progress {
            row.stage = Stage::Done;
            row.step = row.steps;
            row.test = Some(summary.test.accuracy);
            row.seconds_per_step = Some(summary.seconds / summary.steps.max(1) as f64);
            row.read_evaluations(folder);
        }
        row
    }

    /// Takes what came before this process from the run's metrics; without them, there is less to show.
    fn read_evaluations(&mut self, folder: &Path) {
        for event in read_metrics(&folder.join(&self.name)).unwrap_or_default() {
            if let Event::Eval(record) = event {
                self.evaluated(&record);
            }
        }
    }

    fn step_done(&mut self, record: &StepRecord) {
        self.step = record.step;
        smooth(&mut self.loss, record.loss);
        if let Some((began, from)) = self.began {
            self.seconds_per_step = Some(began.elapsed().as_secs_f64() / (record.step - from).max(1) as f64);
        }
    }

    /// Whole tests beside other evaluations are not shown: they would be taken for them.
    fn evaluated(&mut self, record: &EvalRecord) {
        let &EvalRecord { split, step, weights, accuracy, .. } = record;
        if weights == WhichWeights::Best {
            return;
        }
        if *self.split.get_or_insert(split) == split {
            self.evaluations.push((step, accuracy));
        }
        if split == EvalSplit::Test && step == self.steps {
            self.test = Some(accuracy);
        }
    }

    /// The accuracy of the last evaluation up to `step`.
    fn accuracy_at(&self, step: u64) -> Option<f64> {
        let at = self.evaluations.partition_point(|&(of, _)| of <= step);
        self.evaluations[..at].last().map(|&(_, accuracy)| accuracy)
    }

    /// How far it is, and how good it was by step `at`, with its name `width` wide.
    fn text(&self, at: u64, width: usize) -> String {
        let mut parts = vec![match self.stage {
            Stage::Waiting => "waiting".to_string(),
            Stage::Failed => "failed".into(),
            Stage::Done => "done".into(),
            Stage::Running => format!("step {}/{}", self.step, self.steps),
        }];
        parts.extend(self.loss.filter(|_| self.stage == Stage::Running).map(|loss| format!("loss {loss:.4}")));
        if let (Some(accuracy), Some(split)) = (self.accuracy_at(at), self.split) {
            let by = if self.stage == Stage::Running { String::new() } else { format!(" by step {at}") };
            parts.push(format!("{} {:.2} %{by}", split.name(), 100.0 * accuracy));
        }
        parts.extend(self.test.map(|test| format!("in the end {:.2} %", 100.0 * test)));
        format!("{:width$}  {}", self.name, parts.join("  "))
    }
}

impl State {
    /// Steps that are still to be done, in seconds on one of the jobs; `None` before anything is known.
    fn seconds_left(&self) -> Option<f64> {
        let known: Vec<&Row> = self.rows.iter().filter(|row| row.seconds_per_step.is_some()).collect();
        let mean = |rows: &mut dyn Iterator<Item = &&Row>| {
            let (sum, count) =
                rows.fold((0.0, 0u32), |(sum, count), row| (sum + row.seconds_per_step.unwrap_or(0.0), count + 1));
            (count > 0).then(|| sum / f64::from(count))
        };
        let of_any = mean(&mut known.iter())?;
        let left = |row: &Row| {
            let alike = || mean(&mut known.iter().filter(|other| other.kind == row.kind));
            let per_step = row.seconds_per_step.or_else(alike).unwrap_or(of_any);
            (row.steps - row.step) as f64 * per_step
        };
        let open = self.rows.iter().filter(|row| matches!(row.stage, Stage::Waiting | Stage::Running));
        Some(open.map(left).sum::<f64>() / self.jobs as f64)
    }

    /// A line for each run of the groups at work, and one for the whole.
    fn lines(&self) -> Vec<String> {
        let width = self.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
        let running = |index: &usize| self.rows[*index].stage == Stage::Running;
        let mut lines = Vec::new();
        for group in self.groups.iter().filter(|group| group.iter().any(running)) {
            // The one that is done is shown as it was at the other's step.
            let at = group.iter().copied().filter(|index| running(index)).map(|index| self.rows[index].step).min();
            lines.extend(group.iter().map(|&index| self.rows[index].text(at.unwrap_or(0), width)));
        }
        let ended = self.rows.iter().filter(|row| matches!(row.stage, Stage::Done | Stage::Failed)).count();
        let left = self.seconds_left().map_or(String::new(), |left| format!(", {} left", duration(left)));
        lines.push(format!("{:width$}  {ended} of {} runs done{left}", "", self.rows.len()));
        lines
    }
}

impl ProgressTable {
    /// Shows the runs of `queue`, those of a group beside each other.
    pub fn new(console: Console, queue: &Queue<'_>, groups: &[Vec<usize>]) -> Self {
        let (folder, jobs) = (queue.out(), queue.jobs());
        let rows = queue.progress().map(|(run, progress)| Row::new(folder, run, progress)).collect();
        let (shown, device_is_said, warned) = (None, false, HashSet::new());
        let state = Mutex::new(State { rows, groups: groups.to_vec(), jobs, shown, device_is_said, warned });
        Self { folder: folder.to_path_buf(), area: StatusArea::open(console, None, "{msg}"), state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Draws the picture, or prints it line by line where there is no terminal, if it is time.
    fn show(&self, state: &mut State) {
        let every = if self.area.bar().is_some() { DRAW_EVERY } else { LINE_EVERY };
        if state.shown.is_some_and(|shown| shown.elapsed() < every) {
            return;
        }
        state.shown = Some(Instant::now());
        match self.area.bar() {
            Some(bar) => {
                let width = chart::columns();
                let cut = |line: String| line.chars().take(width - 1).collect::<String>();
                bar.set_message(state.lines().into_iter().map(cut).collect::<Vec<_>>().join("\n"));
                bar.tick();
            }
            None => state.lines().iter().for_each(|line| self.area.line(line)),
        }
    }
}

impl QueueView for ProgressTable {
    fn listener(&self, index: usize) -> Box<dyn Listener + '_> {
        Box::new(TableRow { table: self, index })
    }

    fn failed(&self, index: usize, message: &str) {
        self.state().rows[index].stage = Stage::Failed;
        self.warn(message);
    }

    fn warn(&self, text: &str) {
        self.area.warn(text);
    }

    fn ends(&self) {
        self.area.close();
    }
}

/// One run's part of the table.
struct TableRow<'a> {
    table: &'a ProgressTable,
    index: usize,
}

impl TableRow<'_> {
    fn name(&self) -> String {
        self.table.state().rows[self.index].name.clone()
    }
}

impl Listener for TableRow<'_> {
    fn say(&mut self, text: &str) {
        self.table.area.line(text);
    }

    fn begins(&mut self, start: &Start<'_>) {
        let mut state = self.table.state();
        if !std::mem::replace(&mut state.device_is_said, true) {
            self.table.area.suspend(|console| show_device(console, start.device, start.device_note));
        }
        let row = &mut state.rows[self.index];
        (row.stage, row.step) = (Stage::Running, start.from_step);
        row.began = Some((Instant::now(), start.from_step));
        if start.from_step > 0 {
            row.read_evaluations(&self.table.folder);
        }
        let how = if start.from_step > 0 { format!("goes on after step {}", start.from_step) } else { "begins".into() };
        let message = format!("{}: {how}", row.name);
        let notes: Vec<String> = start.notes.iter().map(|note| format!("{}: {note}", row.name)).collect();
        drop(state);
        // The last note says where it goes on, as the message does.
        notes.iter().rev().skip(1).rev().for_each(|note| self.table.area.line(note));
        self.table.area.line(&message);
    }

    fn warn(&mut self, text: &str) {
        let message = format!("{}: {text}", self.name());
        if self.table.state().warned.insert(message.clone()) {
            self.table.area.warn(&message);
        }
    }

    fn ends(&mut self) {
        let mut state = self.table.state();
        let row = &mut state.rows[self.index];
        let Some(test) = row.test else { return };
        row.stage = Stage::Done;
        let message = format!("{}: test accuracy {:.2} %", row.name, 100.0 * test);
        drop(state);
        self.table.area.line(&message);
    }
}

impl Observer for TableRow<'_> {
    fn observe(&mut self, event: &Event<'_>) -> io::Result<ControlFlow<()>> {
        match event {
            Event::Step(record) => {
                let mut state = self.table.state();
                state.rows[self.index].step_done(record);
                self.table.show(&mut state);
            }
            Event::Eval(record) => self.table.state().rows[self.index].evaluated(record),
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    }
}
