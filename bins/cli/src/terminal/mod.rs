//! What people see: headlines, steps with how long they took, commands to copy. Colours and movement only where a
//! terminal shows them; narrow terminals get more lines instead of broken ones. Called by `connect` and `demo`.

mod layout;
mod qr;
mod working;

use std::io::{IsTerminal, stdout};
use std::time::Duration;

use anstream::println;
use anstyle::{AnsiColor, Color, Style};

pub(crate) use self::layout::duration;
use self::layout::{Columns, wrap};
pub(crate) use self::working::Working;

/// Wider lines are hard to read, narrower ones hold nothing.
const WIDTH_MIN: usize = 36;
const WIDTH_MAX: usize = 100;
/// What one may expect where nobody says how wide it is.
const WIDTH_DEFAULT: usize = 80;
/// How far everything below a headline stands in.
const INDENT: usize = 4;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const WARN: Style = AnsiColor::Yellow.on_default().bold();
const COMMAND: Style = AnsiColor::Cyan.on_default();
const PAPER: Style = AnsiColor::Black.on_default().bg_color(Some(Color::Ansi(AnsiColor::BrightWhite)));

/// Standard output, as far as people look at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    width: usize,
    is_live: bool,
    is_plain: bool,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// As it should.
    Good,
    /// As it should not.
    Bad,
    /// Worth a look.
    Warning,
}

impl Terminal {
    /// Standard output. A plain one has neither colours nor movement nor anything beyond ASCII.
    pub(crate) fn of_stdout(is_plain: bool) -> Self {
        if is_plain {
            anstream::ColorChoice::Never.write_global();
        }
        let is_live = stdout().is_terminal() && !is_plain;
        Self { width: width(), is_live, is_plain }
    }

    /// How many characters a line holds.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Whether only ASCII is wanted.
    pub(crate) fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// A headline.
    pub(crate) fn title(&self, text: &str) {
        println!();
        for line in wrap(text, self.width) {
            println!("{BOLD}{}{BOLD:#}", self.spelled(&line));
        }
    }

    /// A paragraph.
    pub(crate) fn say(&self, text: &str) {
        for line in wrap(text, self.width) {
            println!("{}", self.spelled(&line));
        }
    }

    /// A paragraph below a step.
    pub(crate) fn note(&self, text: &str) {
        for line in wrap(text, self.width.saturating_sub(INDENT)) {
            println!("{:INDENT$}{DIM}{}{DIM:#}", "", self.spelled(&line));
        }
    }

    /// A command or path, in one piece so that it can be copied.
    pub(crate) fn command(&self, text: &str) {
        println!("{:INDENT$}{COMMAND}{text}{COMMAND:#}", "");
    }

    /// Lines that are drawn, not written.
    pub(crate) fn picture(&self, lines: &[String]) {
        for line in lines {
            println!("{}", self.spelled(line));
        }
    }

    /// A picture whose colours matter, where there are colours.
    pub(crate) fn black_on_white(&self, picture: &str) {
        for line in picture.lines() {
            println!("{PAPER}{line}{PAPER:#}");
        }
    }

    /// Whether it shows colours.
    pub(crate) fn has_colours(&self) -> bool {
        !matches!(anstream::AutoStream::choice(&stdout()), anstream::ColorChoice::Never)
    }

    /// A step that has ended.
    pub(crate) fn step(&self, mark: Mark, what: &str, outcome: &str, took: Option<Duration>) {
        let (style, sign) = self.sign(mark);
        let time = took.map(duration).unwrap_or_default();
        let (first, rest) = Columns::of(self.width).fill(what, outcome, &time);
        println!("  {style}{sign}{style:#} {}", self.spelled(&first));
        for line in rest {
            println!("{:INDENT$}{}", "", self.spelled(&line));
        }
    }

    /// Shows that something is going on until the result is dropped.
    pub(crate) fn working(&self, what: &str) -> Working {
        if self.is_live { Working::shown(what) } else { Working::hidden() }
    }

    /// The same text without what a plain terminal may not have.
    fn spelled(&self, text: &str) -> String {
        if self.is_plain { layout::ascii(text) } else { text.to_owned() }
    }

    fn sign(&self, mark: Mark) -> (Style, &'static str) {
        match (mark, self.is_plain) {
            (Mark::Good, false) => (GOOD, "✓"),
            (Mark::Bad, false) => (BAD, "✗"),
            (Mark::Warning, false) => (WARN, "!"),
            (Mark::Good, true) => (GOOD, "+"),
            (Mark::Bad, true) => (BAD, "x"),
            (Mark::Warning, true) => (WARN, "!"),
        }
    }
}

/// The terminal's own width, else what COLUMNS says.
fn width() -> usize {
    let own = terminal_size::terminal_size_of(stdout()).map(|(width, _)| usize::from(width.0));
    let told = || std::env::var("COLUMNS").ok()?.parse().ok();
    own.or_else(told).unwrap_or(WIDTH_DEFAULT).clamp(WIDTH_MIN, WIDTH_MAX)
}
